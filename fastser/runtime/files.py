"""The cache folder, and files that are written completely or not at all."""

import errno
import os
import shutil
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

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exhausted quota and a limit on the size of files."""

_ALMOST_FULL_BYTES = 1 << 20
"""Free space below which a failed write of a library that hides the error number counts as that of a full disk."""

_cache_folder: ContextVar[Path | None] = ContextVar("fastser_cache_folder", default=None)


class DiskFullError(OSError):
    """A write that failed because the disk, the quota or the largest size of a file is exhausted."""


def expanded(path: Path) -> Path:
    """Return a path with the home folder in place of a leading "~"; a path of an unknown home stays as it is."""
    if not str(path).startswith("~"):
        return path
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises where there is no home)


def expanded_output(path: Path, advice: str) -> Path:
    """Return the path of an output folder with the home folder in place of a leading "~".

    Args:
        path: Path of a folder that may be missing.
        advice: Sentence that says how to choose another folder.

    Raises:
        OSError: If no home folder is known for the leading "~" or "~user". A folder of this literal name would be made.
    """
    folder = expanded(path)
    if folder.parts[:1] and folder.parts[0].startswith("~") and not Path(folder.parts[0]).exists():
        raise OSError(f"cannot use the folder {folder}: no home folder is known for {folder.parts[0]}. {advice}")
    return folder


def storable(text: str) -> str:
    """Return a text that can be stored as UTF-8, with escapes for the bytes of a file name that is not UTF-8."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a pair of surrogates, which no file name holds
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(value: str | Path) -> str:
    r"""Return a text that can be printed and stored as UTF-8, with escapes for bytes and signs that cannot.

    Example:
        >>> printable("caf\udce9/a\nb")
        'caf\\xe9/a\\nb'
    """
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in storable(text))


def cache_dir() -> Path:
    """Return the folder for packed corpora and stand-ins, and create it if it is missing.

    The folder is that of the innermost `cache_at` block, else `$FASTSER_CACHE`, else the user's cache folder. A leading
    "~" is the home folder.

    Raises:
        OSError: If the folder cannot be created, or if the home folder is not known.
    """
    named = _cache_folder.get() or os.environ.get("FASTSER_CACHE") or _user_cache_folder()
    folder = expanded_output(Path(named), "Set $FASTSER_CACHE to a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot create the cache folder {folder}: {error.strerror}. Set $FASTSER_CACHE to a writable folder"
        ) from None
    return folder


def _user_cache_folder() -> str:
    try:
        return platformdirs.user_cache_dir("fastser")
    except RuntimeError:  # no home folder
        return "~/.cache/fastser"


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
    the block without a file name, or with that of the temporary file, gets the name of `path`.

    Raises:
        DiskFullError: If the disk is full, also where a library reports this in another way.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        with naming_full_disk(path), part.open("xb") as held:
            lock_file(held)
            yield part
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(part)):
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Report a full disk in a block that writes `path` with file, free space and advice.

    Raises:
        DiskFullError: If the block fails because the disk is full. Its file name is `path`.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        free = _free_bytes(path)
        if number in _FULL or (number is None and free is not None and free < _ALMOST_FULL_BYTES):
            number = number or errno.ENOSPC
            space = "" if free is None else f" ({free / 1e6:.1f} MB are free)"
            advice = "raise the limit on the size of files" if number == errno.EFBIG else "free some space"
            reason = f"{os.strerror(number)}{space}; {advice} and start again"
            raise DiskFullError(number, reason, str(path)) from error
        raise


def _free_bytes(path: Path) -> int | None:
    folder = next((parent for parent in path.absolute().parents if parent.is_dir()), None)
    try:
        return None if folder is None else shutil.disk_usage(folder).free
    except OSError:
        return None


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


def relative_below(folder: Path, file: Path) -> str:
    """Return the path of a file with forward slashes, relative to a folder where it lies below it, otherwise absolute.

    Args:
        folder: Resolved path of the folder.
        file: The file. If it is a symbolic link, it keeps its own name.
    """
    whole = file.parent.resolve() / file.name
    return (whole.relative_to(folder) if whole.is_relative_to(folder) else whole).as_posix()
