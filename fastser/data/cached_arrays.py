"""Arrays in the cache: a data file beside an index with its checksum, verified before its first use in a process."""

import json
import logging
import os
import uuid
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fastser.runtime.digests import digest
from fastser.runtime.files import atomic_write, cache_dir

_FORMAT = 2
"""Format of the index. An index of another format is not used, and its data file is made again."""

_BYTES_PER_READ = 1 << 24

_BYTES_PER_WRITE = 1 << 20
"""Values that the writing thread takes at once. Handing over smaller ones takes longer than writing them."""

_BYTES_PER_SYNC = 1 << 21
"""Bytes after which the thread waits for the disk, so that little is left to wait for at the end."""

_BLOCKS_AHEAD = 4
"""Blocks that wait to be written before the caller waits too, which bounds their memory."""

_LOG = logging.getLogger(__name__)

_verified: set[tuple[str, int, int, int, int]] = set()
"""Data files whose checksum this process has found right: path, inode, size, time of change, checksum."""


class _DamagedError(Exception):
    """A cached file that does not hold what was written. The argument is its path."""


class ArrayWriter:
    """A writer of a data file, which counts and sums up its bytes.

    A thread writes and sums up, so that the caller computes the next values meanwhile. It is at most `_BLOCKS_AHEAD`
    blocks behind the caller.

    Args:
        stream: Open file.
        thread: Executor of one thread.
    """

    def __init__(self, stream: BinaryIO, thread: Executor) -> None:
        self.size = self.checksum = 0
        self._stream = stream
        self._thread = thread
        self._waiting: list[npt.NDArray[np.float32]] = []
        self._waiting_bytes = self._unsynced = 0
        self._writes: deque[Future[None]] = deque()

    def append(self, values: npt.NDArray[np.float32]) -> None:
        """Write values at the end of the file. The caller must not change them afterwards."""
        self._waiting.append(values)
        self._waiting_bytes += values.nbytes
        if self._waiting_bytes >= _BYTES_PER_WRITE:
            self._write_waiting()

    def finish(self) -> None:
        """Wait until everything is written."""
        self._write_waiting()
        while self._writes:
            self._writes.popleft().result()

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        parts, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._writes.append(self._thread.submit(self._write, np.concatenate(parts) if len(parts) > 1 else parts[0]))
        while len(self._writes) > _BLOCKS_AHEAD:
            self._writes.popleft().result()

    def _write(self, values: npt.NDArray[np.float32]) -> None:
        content = np.ascontiguousarray(values).view(np.uint8).reshape(-1).data
        self._stream.write(content)  # unlike ndarray.tofile, it reports the error number of a full disk
        self.size += len(content)
        self.checksum = zlib.crc32(content, self.checksum)
        self._unsynced += len(content)
        if self._unsynced >= _BYTES_PER_SYNC:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._unsynced = 0


@dataclass(frozen=True, slots=True)
class CachedArray:
    """A float32 array in the cache folder, and values that describe it.

    Attributes:
        data: Data file.
        index: Index file.
    """

    data: Path
    index: Path

    @classmethod
    def named(cls, name: str) -> "CachedArray":
        """Return the array of a name, which need not exist yet."""
        return cls(cache_dir() / f"{name}.f32", cache_dir() / f"{name}.json")

    def load(self) -> Any:
        """Return the values of the index, or None if the array must be made again.

        A data file or an index that was damaged is reported with a warning. A missing file, or an index of an older
        format, is not.
        """
        try:
            return self._load()
        except _DamagedError as error:
            _LOG.warning("%s is damaged; it is made again", error)
        except OSError:
            pass
        return None

    @classmethod
    def unnamed(cls) -> "CachedArray":
        """Return an array whose name is known after it is written. `move_to` gives it the name."""
        stem = f".unnamed-{uuid.uuid4().hex}"
        return cls(cache_dir() / f"{stem}.f32.part", cache_dir() / f"{stem}.json.part")

    @contextmanager
    def writing(self) -> Iterator[ArrayWriter]:
        """Write the data file. It appears under its name when the block ends without an exception."""
        self.index.unlink(missing_ok=True)
        with atomic_write(self.data) as part, part.open("wb") as stream, ThreadPoolExecutor(1) as thread:
            writer = ArrayWriter(stream, thread)
            yield writer
            writer.finish()

    def move_to(self, named: "CachedArray") -> None:
        """Give a data file its name."""
        named.index.unlink(missing_ok=True)
        self.data.replace(named.data)

    def save_index(self, values: Any, writer: ArrayWriter) -> None:
        """Write the index of a data file that was just written."""
        values = json.loads(json.dumps(values))  # as it is read: JSON makes texts of numbers that are keys
        record = {"format": _FORMAT, "values": values, "size": writer.size, "crc32": writer.checksum}
        with atomic_write(self.index) as part:
            part.write_text(json.dumps(record | {"check": _check(record)}))

    def map(self) -> npt.NDArray[np.float32]:
        """Return the array, memory-mapped so that changes stay in memory."""
        return np.memmap(self.data, np.float32, "c") if self.data.stat().st_size else np.empty(0, np.float32)

    def _load(self) -> Any:
        try:
            record = json.loads(self.index.read_text())
        except ValueError:
            raise _DamagedError(self.index) from None
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            return None
        if record.pop("check", None) != _check(record):
            raise _DamagedError(self.index)
        status = self.data.stat()
        if status.st_size != record["size"]:
            raise _DamagedError(self.data)
        state = str(self.data), status.st_ino, status.st_size, status.st_mtime_ns, record["crc32"]
        if state not in _verified and _checksum(self.data) != record["crc32"]:
            raise _DamagedError(self.data)
        _verified.add(state)
        return record["values"]


def _check(record: dict[str, Any]) -> str:
    """Return the digest of an index without its own digest."""
    return digest({key: value for key, value in record.items() if key != "check"})


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as stream:
        while block := stream.read(_BYTES_PER_READ):
            checksum = zlib.crc32(block, checksum)
    return checksum
