"""The list of segments that are to be cut, with the checks that need no audio."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from fastser.data.corpora.files import names_file
from fastser.data.corpora.strict_csv import Faults
from fastser.runtime.files import printable

_DECIMALS = 9
"""Decimals of seconds that tell segments apart, as in the names of their files."""


@dataclass(frozen=True, slots=True)
class LabelledSegment:
    """A part of a recording with its labels.

    Attributes:
        place: Line number of its table, or a phrase that names its row.
        file: The recording, as the table gives it.
        audio: File of the recording.
        start: Start in seconds.
        end: End in seconds, or None for that of the recording.
        labels: Columns of the manifest besides the path: speaker, emotion and further ones.
    """

    place: int | str
    file: str
    audio: Path
    start: float
    end: float | None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CutList:
    """Segments of recordings.

    Attributes:
        path: Table or database that lists them.
        root: Folder where relative names of recordings start.
        segments: At least one segment.
        synthetic: Whether the recordings were generated.
    """

    path: Path
    root: Path
    segments: tuple[LabelledSegment, ...]
    synthetic: bool = False


def check_segments(segments: list[LabelledSegment], faults: Faults) -> None:
    """Add a fault for each segment without length or that occurs twice, and for each missing recording."""
    first: dict[tuple[str, float, float | None], int | str] = {}
    seen: set[Path] = set()
    for segment in segments:
        if segment.end is not None and segment.end <= segment.start:
            faults.add(segment.place, f"ends at {segment.end:g} s, not after its start at {segment.start:g} s")
        if segment.audio not in seen and not names_file(segment.audio):
            faults.add(segment.place, f"there is no file {printable(segment.file)}")
        seen.add(segment.audio)
        end = None if segment.end is None else round(segment.end, _DECIMALS)
        key = (os.path.normpath(segment.audio), round(segment.start, _DECIMALS), end)
        if (earlier := first.setdefault(key, segment.place)) != segment.place:
            where = f"line {earlier}" if isinstance(earlier, int) else earlier
            faults.add(segment.place, f"is the same segment of {printable(segment.file)} as {where}")
