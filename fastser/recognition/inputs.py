"""Audio files of users: single files, folders and lists."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fastser.data.corpora.files import ANY_AUDIO, audio_files
from fastser.runtime.errors import UserError
from fastser.runtime.files import expanded, printable


class InputError(UserError, ValueError):
    """An input that holds no audio file. The message is one sentence."""


def files_of(inputs: Sequence[str], lines: Iterable[bytes]) -> list[Path]:
    """Return the audio files of files, folders and lists, each once, in their order.

    Args:
        inputs: Paths of files and folders. "-" stands for `lines`.
        lines: Paths of files in the encoding of the file system, one a line. Empty lines are skipped.

    Raises:
        InputError: If a path does not exist, a folder holds no audio file, or the lines are no text.
    """
    return list(dict.fromkeys(path for text in inputs for path in _files(text, lines)))


def _files(text: str, lines: Iterable[bytes]) -> Iterator[Path]:
    if text == "-":
        yield from (_path(line) for line in lines if line.strip())
        return
    path = expanded(Path(text))
    if path.is_dir():
        found = audio_files(path, ANY_AUDIO)
        if not found:
            raise InputError(f"{printable(path)}: the folder holds no audio file ({', '.join(ANY_AUDIO)})")
        yield from found
    elif path.exists():
        yield path
    else:
        raise InputError(f"{printable(path)}: there is no such file or folder")


def _path(line: bytes) -> Path:
    if b"\0" in line:  # no path holds it, and nearly every audio file does
        raise InputError("standard input is no list of files; save audio in a file and give its path")
    return Path(os.fsdecode(line.rstrip(b"\r\n")))
