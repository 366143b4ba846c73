"""Names of the files of segments: the recording, and start and end in seconds."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

from fastser.runtime.files import printable

from .cut_list import CutList, LabelledSegment

_DIGITS = 8
"""Hexadecimal digits that tell recordings of the same name apart."""


def segment_names(listed: CutList) -> list[str]:
    """Return the path of the file of each segment, with forward slashes, below the folder of all of them.

    It is `NAME_START-END.wav`, where NAME is the path of the recording without suffix. Recordings whose names differ in
    suffix only, or that lie outside of the folder of the list, get digits of a digest of their paths too.
    """
    stems = _stems(listed.root, [*dict.fromkeys(segment.audio for segment in listed.segments)])
    return [f"{stems[segment.audio]}_{time_text(segment.start)}-{_end(segment)}.wav" for segment in listed.segments]


def time_text(seconds: float) -> str:
    """Return seconds with at least three decimals, and as many as nanoseconds need.

    Example:
        >>> time_text(1.5), time_text(0.0625)
        ('1.500', '0.0625')
    """
    whole, _, decimals = f"{seconds:.9f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(3, '0')}"


def _stems(root: Path, recordings: Sequence[Path]) -> dict[Path, str]:
    """Return the name of each recording without suffix, which no two of them share, also where case does not count."""
    below = {recording: _relative(root, recording) for recording in recordings}
    stems = {recording: _stem(path) for recording, path in below.items()}
    same: dict[str, list[Path]] = defaultdict(list)
    for recording, stem in stems.items():
        same[stem.casefold()].append(recording)
    for recording, path in below.items():
        if path.is_absolute() or len(same[stems[recording].casefold()]) > 1:
            digest = hashlib.sha256(os.fsencode(path.as_posix())).hexdigest()
            stems[recording] += f"-{digest[:_DIGITS]}"
    return stems


def _relative(root: Path, recording: Path) -> PurePath:
    """Return the path of a recording below a folder, or else its absolute path. Links are not followed."""
    whole, folder = (PurePath(os.path.abspath(path)) for path in (recording, root))  # noqa: PTH100 (resolve follows links)
    return whole.relative_to(folder) if whole.is_relative_to(folder) else whole


def _stem(path: PurePath) -> str:
    return printable(path.stem if path.is_absolute() else path.with_suffix("").as_posix())


def _end(segment: LabelledSegment) -> str:
    return "end" if segment.end is None else time_text(segment.end)
