"""Progress of decoding: a bar in a terminal, elsewhere a line after the last file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID

from fastser.cli.console import say
from fastser.runtime.counted import counted


@contextmanager
def file_counter(title: str, total: int, console: Console) -> Iterator["FileCounter"]:
    """Count files while they are decoded. Nothing is shown for files from the cache."""
    counter = FileCounter(title, total, console)
    try:
        yield counter
    finally:
        counter.close()


class FileCounter:
    """Progress bar in a terminal. Elsewhere, one line after the last file."""

    def __init__(self, title: str, total: int, console: Console) -> None:
        self._title, self._total, self._console = title, total, console
        self._count = 0
        self._closed = False
        self._began = time.perf_counter()
        self._bar: Progress | None = None

    def __call__(self) -> None:
        """Count one more decoded file."""
        self._count += 1
        if self._console.is_terminal:
            if self._bar is None:
                self._bar = Progress(console=self._console, transient=True)
                self._bar.add_task(escape(f"decoding {self._title}"), total=self._total)
                self._bar.start()
            self._bar.update(TaskID(0), completed=self._count)
        if self._count == self._total:
            self.close()

    def close(self) -> None:
        """Remove the bar and print the duration, once."""
        if self._bar is not None:
            self._bar.stop()
        if self._count and not self._closed:
            self._closed = True
            seconds = time.perf_counter() - self._began
            say(self._console, f"{self._title}: {counted(self._count, 'file')} decoded in {seconds:.1f} s")
