"""Where decoded and generated data are kept between runs, and how files get there whole or not at all."""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
    """Remove what killed processes left half written in a folder."""
    for part in folder.glob(".*.part"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > STALE_AFTER_SECONDS:
                part.unlink()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it to `path` when the block ends well.

    A reader sees the old file, or the whole new one. On an exception the temporary file is removed.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        part.touch(exist_ok=False)
        yield part
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
