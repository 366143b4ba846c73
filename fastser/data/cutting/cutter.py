"""Cutting of recordings: each is decoded once, and each of its segments becomes a WAV file."""

import io
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import soundfile as sf

from fastser.data.audio import AudioError, decode_exactly
from fastser.data.corpora.base import CorpusError
from fastser.data.corpora.files import SYNTHETIC_MARKER
from fastser.data.corpora.strict_csv import Faults
from fastser.runtime.counted import counted
from fastser.runtime.csv_file import csv_file
from fastser.runtime.files import atomic_write, printable, remove_stale_parts

from .cut_list import CutList, LabelledSegment
from .names import segment_names, time_text
from .record import AUDIO, MANIFEST, Record, key_of

TOLERANCE_SECONDS = 0.1
"""Time by which a segment may end after its recording, because tables round times. The segment is shorter then."""

_PEAK_TIME = slice(12, 16)
"""Bytes of the time of writing in the chunk "PEAK", which libsndfile adds to files of floats."""

_FIRST_COLUMNS = ("speaker", "emotion", "session", "split")


@dataclass(frozen=True, slots=True)
class Cut:
    """Result of cutting: the manifest, and numbers of segments and recordings.

    Attributes:
        manifest: The manifest of the segments.
        new: Number of segments that were cut.
        kept: Number of segments that an earlier command had cut.
        recordings: Number of recordings that were decoded.
    """

    manifest: Path
    new: int
    kept: int
    recordings: int


def cut(listed: CutList, out: Path, on_segment: Callable[[int], Callable[[str], object]]) -> Cut:
    """Cut segments into files of their own, and write a manifest of them.

    A file of `out/audio` has the sample rate, the channels and the samples of its recording, without loss. Files that
    an earlier call has cut from the same recordings are kept. A file is written completely or not at all.

    Args:
        listed: The segments.
        out: Folder of the manifest, which is created.
        on_segment: Called once with the number of segments that are left to cut. The function that it returns is
            called before each of them with the name of its recording.

    Raises:
        CorpusError: If `out` belongs to another list or holds a recording where a segment goes, a recording cannot be
            decoded, or a segment is outside of its recording. The other recordings are cut first, and no manifest is
            written.
        OSError: If a file cannot be written.
    """
    names = segment_names(listed)
    pieces = [_Piece(segment, out / AUDIO / name) for segment, name in zip(listed.segments, names, strict=True)]
    kept = _prepare(listed, out, names)
    waiting: dict[Path, list[_Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.target not in kept:
            waiting[piece.segment.audio].append(piece)
    faults, new = Faults(listed.path), 0
    step = on_segment(sum(map(len, waiting.values())))
    for audio, of_recording in waiting.items():
        new += _cut_recording(audio, of_recording, faults, step)
    if faults.found:
        raise CorpusError(
            f"{faults.sentence()}; {new + len(kept)} of {counted(len(pieces), 'segment')} are cut and kept, and"
            " the same command continues after a correction"
        )
    manifest = out / MANIFEST
    _write_manifest(manifest, pieces)
    return Cut(manifest, new, len(kept), len(waiting))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A segment and its file."""

    segment: LabelledSegment
    target: Path


def _prepare(listed: CutList, out: Path, names: Sequence[str]) -> set[Path]:
    """Create the folders, remove files that come from other recordings or states of them, and return those that stay.

    Args:
        listed: The segments.
        out: Folder of the manifest.
        names: Name of the file of each segment.
    """
    now = Record.of(listed, names)
    targets = {name: out / AUDIO / name for name in names}
    if own := now.states.keys() & {key_of(target) for target in targets.values()}:
        raise CorpusError(f"{min(own)}: is a recording of {listed.path}, and a segment has its name; give another OUT")
    unchanged = now.unchanged(Record.read(out, listed.path))
    out.mkdir(parents=True, exist_ok=True)
    kept = set()
    for name, target in targets.items():
        if name not in unchanged:
            target.unlink(missing_ok=True)
        elif target.is_file():
            kept.add(target)
    if listed.synthetic:
        shutil.copyfile(listed.root / SYNTHETIC_MARKER, out / SYNTHETIC_MARKER)
    now.write(out)
    for folder in {out, *(target.parent for target in targets.values())}:
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(folder)
    return kept


def _cut_recording(audio: Path, pieces: Sequence[_Piece], faults: Faults, step: Callable[[str], object]) -> int:
    """Cut the segments of a recording. Return their number, without those that get a fault."""
    first = pieces[0].segment
    name = printable(first.file)
    step(name)
    try:
        recording = decode_exactly(audio)
    except AudioError as error:
        faults.add(first.place, f"{name} {error.reason}")
        return 0
    done = 0
    for index, piece in enumerate(pieces):
        if index:
            step(name)
        frames = recording.frames[_bounds(piece.segment, recording.rate)]
        if fault := _fault(piece.segment, frames, recording.rate, len(recording.frames)):
            faults.add(piece.segment.place, fault)
            continue
        with atomic_write(piece.target) as part:
            part.write_bytes(_wav(frames, recording.rate, recording.subtype))
        done += 1
    return done


def _wav(frames: npt.NDArray[Any], rate: int, subtype: str) -> bytearray:
    """Return the contents of a WAV file, which are the same at any time: the keys of datasets depend on them."""
    stream = io.BytesIO()  # the sound library does not tell why it cannot write a file
    sf.write(stream, frames, rate, subtype=subtype, format="WAV")
    content = bytearray(stream.getbuffer())
    peak = content.find(b"PEAK", 0, content.find(b"data"))
    if peak >= 0:
        content[peak + _PEAK_TIME.start : peak + _PEAK_TIME.stop] = bytes(4)
    return content


def _bounds(segment: LabelledSegment, rate: int) -> slice:
    return slice(round(segment.start * rate), None if segment.end is None else round(segment.end * rate))


def _fault(segment: LabelledSegment, frames: npt.NDArray[Any], rate: int, samples: int) -> str | None:
    """Return what is wrong with the times of a segment, given its frames and the length of its recording."""
    length = f"{printable(segment.file)} ends at {samples / rate:g} s"
    if segment.end is not None and segment.end > samples / rate + TOLERANCE_SECONDS:
        return f"{length}, but the segment at {segment.end:g} s"
    if segment.start * rate >= samples:
        return f"{length}, but the segment starts at {segment.start:g} s"
    return None if len(frames) else f"the segment at {segment.start:g} s is shorter than a sample"


def _write_manifest(manifest: Path, pieces: Sequence[_Piece]) -> None:
    named = [*dict.fromkeys(column for piece in pieces for column in piece.segment.labels)]
    first = [column for column in _FIRST_COLUMNS if column in named]
    further = [column for column in named if column not in first]
    with csv_file(manifest, ["path", *first, "file", "start", "end", *further]) as write_row:
        for segment, target in ((piece.segment, piece.target) for piece in pieces):
            end = "" if segment.end is None else time_text(segment.end)
            write_row(
                [
                    target.relative_to(manifest.parent).as_posix(),
                    *(segment.labels.get(column, "") for column in first),
                    *(segment.file, time_text(segment.start), end),
                    *(segment.labels.get(column, "") for column in further),
                ]
            )
