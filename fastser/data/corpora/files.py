"""What every reader does with folders and lists of names."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from .base import AUDIO_SUFFIXES, CorpusError

SYNTHETIC_MARKER = "SYNTHETIC.txt"
"""File in the root of every generated stand-in, by which the readers know it."""


def audio_files(folder: Path, suffixes: Sequence[str] = AUDIO_SUFFIXES) -> list[Path]:
    """All audio anywhere below `folder`, sorted, from one walk.

    Of several encodings side by side (`a.wav`, `a.flac`) the one whose suffix comes first in `suffixes` is taken.
    Names that begin with "." are left out: macOS puts a "._x.wav" beside each "x.wav" on foreign disks. A folder that
    several links lead to is entered once.
    """
    best: dict[str, tuple[int, str]] = {}
    entered: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(parent)  # noqa: PTH116 (as below)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 (a Path per file is slow for 10 000 files)
            if suffix.lower() in suffixes and not name.startswith("."):
                candidate = (suffixes.index(suffix.lower()), name)
                key = f"{parent}/{stem}"
                best[key] = min(best.get(key, candidate), candidate)
    return [Path(key).with_name(name) for key, (_, name) in sorted(best.items())]


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Files by their name without ending.

    Raises:
        CorpusError: If two files have the same name, as where a folder holds two copies of a corpus.
    """
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            raise CorpusError(f"{file}: the utterance {file.stem} is also in {found[file.stem]}; give one copy only")
        found[file.stem] = file
    return found


def require_folder(path: Path, title: str) -> None:
    """Raise a `CorpusError` unless `path` is a folder."""
    if not path.is_dir():
        raise CorpusError(f"{path}: is not a folder, so it cannot be {title}")


def is_synthetic(*roots: Path) -> bool:
    """Whether one of the folders carries the marker of the generated stand-ins."""
    return any((root / SYNTHETIC_MARKER).is_file() for root in roots)


def first_few(names: Sequence[str]) -> str:
    """The first three names, then how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
