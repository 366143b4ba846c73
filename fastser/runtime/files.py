"""Where decoded and generated data are kept between runs, and how files get there whole or not at all."""

import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs

STALE_AFTER_SECONDS = 3600
"""Age at which a temporary file that nobody has written to can only be that of a killed process."""


def cache_dir() -> Path:
    """Folder for packed corpora and stand-ins: `$FASTSER_CACHE`, else the user's cache folder. Made if missing.

    Raises:
        OSError: If it cannot be made.
    """
    folder = Path(os.environ.get("FASTSER_CACHE") or platformdirs.user_cache_dir("fastser"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"the cache folder {folder} ($FASTSER_CACHE) cannot be made: {error.strerror}") from None
    return folder


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written in a folder.

    Whoever writes a file holds a lock on it until it is done or dead: a clock that jumps removes nothing in use.
    """
    for part in folder.glob(".*.part"):
        with suppress(OSError), part.open("r+b") as stream:
            if time.time() - part.stat().st_mtime > STALE_AFTER_SECONDS and locked(stream):
                part.unlink()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it to `path` when the block ends well.

    A reader sees the old file, or the whole new one. On an exception the temporary file is removed; an OSError of the
    block that names no file, as that of a full disk, is given the name of this one.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as held:
            locked(held)
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


def locked(stream: BinaryIO, *, wait: bool = False) -> bool:
    """Lock an open file until it is closed.

    Args:
        stream: The file.
        wait: Until nobody else has locked it.

    Returns:
        False if someone else has locked it, or the file system has no locks.
    """
    if sys.platform == "win32":
        return True  # an open file cannot be removed there
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
