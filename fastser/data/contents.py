"""Contents of files, read in one pass together with their digests."""

import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fastser.runtime.files import expanded

UNREADABLE = "unreadable: "
"""Beginning of the text in place of the digest of a file that cannot be read."""

_BYTES_PER_READ = 1 << 20

_SHORT_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Content:
    """A file as it was read.

    Attributes:
        data: All bytes of the file, or those up to the place where it was refused.
        digest: SHA-256 of the whole file.
        refused: Reason for not reading further, or None.
    """

    data: bytes
    digest: str
    refused: str | None = None


def open_file(path: Path) -> io.FileIO:
    """Open a file for reading, without a buffer.

    Raises:
        OSError: If the file cannot be opened, or if it is a pipe or a device, which might never end.
    """
    path = expanded(path)
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "Is a pipe or a device", str(path))
    return path.open("rb", buffering=0)


def read_content(path: Path, head_bytes: int, refuse: Callable[[bytes], str | None]) -> Content:
    """Read a file once, and compute the digest of what was read.

    Args:
        path: The file.
        head_bytes: Number of bytes at the beginning that tell whether the file is wanted.
        refuse: Function of these bytes that returns a reason not to keep the rest, or None.

    Raises:
        OSError: If the file cannot be read.
        MemoryError: If it does not fit into memory.
    """
    with open_file(path) as stream:
        head = stream.read(head_bytes)
        if (reason := refuse(head)) is not None:
            return Content(head, _digest_of_rest(stream, head), reason)
        data = head + stream.read()
    return Content(data, hashlib.sha256(data).hexdigest())


def content_digests(paths: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of each file, or the error message of a file that cannot be read.

    Threads read the long files. Handing a short file to another thread takes longer than reading it.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        long = {path: pool.submit(_content_digest, path) for path in paths if not is_short(path)}
        return [long[path].result() if path in long else _content_digest(path) for path in paths]


def is_short(path: Path) -> bool:
    """Return whether a file is so short that it is read in less time than another thread takes to begin."""
    return 0 <= file_size(path) <= _SHORT_BYTES


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, or -1 if the system does not tell it."""
    try:
        return expanded(path).stat().st_size
    except OSError:
        return -1


def _content_digest(path: Path) -> str:
    try:
        with open_file(path) as stream:
            return _digest_of_rest(stream)
    except OSError as error:
        return f"{UNREADABLE}{error.strerror}"


def _digest_of_rest(stream: io.FileIO, read_before: bytes = b"") -> str:
    """Return the SHA-256 of a file from the bytes that were read before and the rest."""
    sha256 = hashlib.sha256(read_before)
    while block := stream.read(_BYTES_PER_READ):
        sha256.update(block)
    return sha256.hexdigest()
