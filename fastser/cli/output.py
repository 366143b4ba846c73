"""Standard output that does not end a run: a closed pipe, a full disk or a narrow encoding costs output only."""

import os
import sys
from typing import Any, TextIO


class Output:
    """A text stream whose failures end the output, not the program.

    Characters that the encoding lacks are written as escapes. At the first failed write, one sentence goes to standard
    error, and all further output is discarded.

    Args:
        stream: The stream, such as `sys.stdout`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failed = False
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write text, or discard it after a failure."""
        if not self._failed:
            try:
                self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        if not self._failed:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._failed = True
        print(f"standard output cannot be written ({error.strerror}); the run continues without it", file=sys.stderr)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._stream.fileno())  # the text that is still buffered goes there when Python ends
        finally:
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
