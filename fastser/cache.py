"""Where decoded and generated data are kept between runs, and how files get there whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Folder for packed corpora and stand-ins: `$FASTSER_CACHE`, else the user's cache folder. Made if missing."""
    folder = Path(os.environ.get("FASTSER_CACHE") or platformdirs.user_cache_dir("fastser"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
