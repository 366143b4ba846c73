"""The cache folder, and files that are written completely or not at all."""

import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

import platformdirs

STALE_AFTER_SECONDS = 3600
"""Age in seconds from which an unlocked temporary file counts as left behind by a killed process."""

_cache_folder: ContextVar[Path | None] = ContextVar("fastser_cache_folder", default=None)


def cache_dir() -> Path:
    """Return the folder for packed corpora and stand-ins, and create it if it is missing.

    The folder is that of the innermost `cache_at` block, else `$FASTSER_CACHE`, else the user's cache folder.

    Raises:
        OSError: If the folder cannot be created.
    """
    named = os.environ.get("FASTSER_CACHE") or platformdirs.user_cache_dir("fastser")
    folder = _cache_folder.get() or Path(named)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot create the cache folder {folder}: {error.strerror}. Set $FASTSER_CACHE to a writable folder"
        ) from None
    return folder


@contextmanager
def cache_at(folder: Path) -> Iterator[None]:
    """Use another cache folder within a `with` block.

    The choice is stored in a context variable, so it holds for the code that runs in this context only. A thread that
    is started inside the block does not inherit it. Enter `cache_at` in that thread, or run the thread's function with
    `contextvars.copy_context().run`.

    Args:
        folder: Cache folder, created at its first use. It takes precedence over `$FASTSER_CACHE`.
    """
    token = _cache_folder.set(folder)
    try:
        yield
    finally:
        _cache_folder.reset(token)


def remove_stale_parts(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder.

    A process holds a lock on its temporary file for as long as it writes. A file in use is therefore kept, whatever the
    clock says of its age.
    """
    for part in folder.glob(".*.part"):
        with suppress(OSError), part.open("r+b") as stream:
            if time.time() - part.stat().st_mtime > STALE_AFTER_SECONDS and lock_file(stream):
                part.unlink()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block ends without an exception.

    Readers see the old file or the complete new one. After an exception the temporary file is removed. An OSError of
    the block without a file name, such as that of a full disk, gets the name of `path`.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as held:
            lock_file(held)
            yield part
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def lock_file(stream: BinaryIO, *, wait: bool = False) -> bool:
    """Lock an open file until it is closed.

    Args:
        stream: Open file.
        wait: Wait until no other process holds the lock.

    Returns:
        Whether the lock is held. False if another process holds it, or if the file system has no locks.
    """
    if sys.platform == "win32":
        return True  # Windows does not remove open files, so no lock is needed
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
