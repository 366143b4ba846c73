"""Output paths of users, checked before a command begins its work."""

import errno
import os
import tempfile
from pathlib import Path

from fastser.cli.options import UsageError
from fastser.runtime.files import expanded, expanded_output, printable


def writable_file(path: Path, flag: str = "") -> Path:
    """Return the path of a file to write, with the home folder in place of a leading "~". Nothing is created.

    Args:
        path: The file. Its folder may be missing.
        flag: Option that gives it, such as "--out". Empty for an argument without option.

    Raises:
        UsageError: If the file cannot be written.
    """
    file = expanded(path)
    said = f"{flag} {printable(path)}".strip()
    if file.is_dir():
        raise UsageError(f"{said} cannot be written: {os.strerror(errno.EISDIR)}")
    _check(file.parent, said)
    return file


def writable_folder(path: Path, flag: str) -> Path:
    """Return the path of an output folder, with the home folder in place of a leading "~". Nothing is created.

    Args:
        path: The folder, which may be missing.
        flag: Option that gives it, such as "--out".

    Raises:
        UsageError: If no file can be written in the folder.
        OSError: If no home folder is known for a leading "~".
    """
    folder = expanded_output(path, f"Give {flag} the path of a folder")
    _check(folder, f"{flag} {printable(path)}")
    return folder


def _check(folder: Path, said: str) -> None:
    """Check that a file can be created in a folder, or in the innermost existing folder above a missing one."""
    try:
        existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UsageError(f"{said} cannot be written: {error.strerror}") from None
