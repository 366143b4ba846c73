"""Functions that all readers share: walk folders, look for files, find generated stand-ins, shorten lists of names."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastser.runtime.files import printable

from .utterance import CorpusError

AUDIO_SUFFIXES = (".wav", ".flac")
"""Suffixes of the audio files that every reader takes, in order of preference."""

ANY_AUDIO = (*AUDIO_SUFFIXES, ".ogg", ".opus", ".oga", ".mp3", ".aiff", ".aif")
"""Suffixes of the audio files that are taken from a user's folder, in order of preference."""

_SYSTEM_NAMES = frozenset(
    {
        "@eadir",
        "@recycle",
        "#recycle",
        "#snapshot",
        "__macosx",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "desktop.ini",
        "thumbs.db",
    }
)
"""Names in lower case of folders and files that operating systems, storage devices and archivers add."""

SYNTHETIC_MARKER = "SYNTHETIC.txt"
"""Name of the file that marks the root of a generated stand-in."""

SYNTHETIC_PREFIX = "synthetic "
"""Beginning of the title of a generated stand-in."""


def audio_files(folder: Path, suffixes: Sequence[str] = AUDIO_SUFFIXES) -> list[Path]:
    """Return all audio files below `folder`, sorted, from one walk.

    Of several encodings of one recording (`a.wav`, `a.flac`), the function takes the one whose suffix comes first in
    `suffixes`. It skips hidden files and folders (`is_hidden`), because macOS puts a file "._x.wav" beside each "x.wav"
    on foreign disks. It enters a folder once, also where several links lead to it.

    Raises:
        OSError: If a folder cannot be listed.
    """
    best: dict[str, tuple[int, str]] = {}
    entered: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        status = os.stat(parent)  # noqa: PTH116 (as below)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 (a Path per file is slow for 10 000 files)
            if suffix.lower() in suffixes and not is_hidden(name):
                candidate = (suffixes.index(suffix.lower()), name)
                key = f"{parent}/{stem}"
                best[key] = min(best.get(key, candidate), candidate)
    return [Path(key).with_name(name) for key, (_, name) in sorted(best.items())]


def _raise(error: OSError) -> None:
    raise error


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden (".git") or belongs to a system ("@eaDir", "lost+found")."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def names_file(path: Path) -> bool:
    """Return whether a path from a table is a file. It is not if no file can have such a name.

    Raises:
        PermissionError: If its folder cannot be searched.
    """
    try:
        return path.is_file()
    except PermissionError:
        raise
    except OSError:
        return False


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Return files by their name without suffix.

    Raises:
        CorpusError: If two files have the same name, for example because the folder holds two copies of a corpus.
    """
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            raise CorpusError(f"{file}: the utterance {file.stem} is also in {found[file.stem]}; give one copy only")
        found[file.stem] = file
    return found


def require_folder(path: Path, title: str) -> None:
    """Check that `path` is a folder.

    Raises:
        CorpusError: If it is not.
    """
    if not path.is_dir():
        raise CorpusError(f"{path}: is not a folder, so it cannot be {title}")


def is_synthetic(*roots: Path) -> bool:
    """Return whether one of the folders holds the marker of the generated stand-ins."""
    return any((root / SYNTHETIC_MARKER).is_file() for root in roots)


def titled(title: str, synthetic: bool) -> str:
    """Return the title of a corpus, which says so if the corpus was generated."""
    return SYNTHETIC_PREFIX + printable(title) if synthetic else printable(title)


def first_few(names: Sequence[str], limit: int = 3) -> str:
    """Return the first `limit` names and the number of the others."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
