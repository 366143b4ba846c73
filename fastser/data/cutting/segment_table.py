"""A CSV file of segments: the columns `file, start, end, speaker, emotion`, and further ones that are copied."""

from collections.abc import Sequence
from pathlib import Path

from fastser.data.corpora.base import CorpusError
from fastser.data.corpora.files import is_synthetic
from fastser.data.corpora.names import plain_name
from fastser.data.corpora.strict_csv import Faults, Row, check_columns, read_rows
from fastser.runtime.files import expanded

from .cut_list import CutList, LabelledSegment, check_segments
from .times import seconds_of

_LABELS = ("speaker", "emotion")
_TIMES = ("start", "end")
_FILE = ("file", "path")
"""Names that the column of the recording may have."""


def read_segment_table(path: Path) -> CutList:
    """Read a CSV file of segments. Relative paths of recordings start at its folder.

    Raises:
        CorpusError: If the file is not such a CSV. The message lists all faults with their lines.
    """
    if not path.is_file():
        raise CorpusError(
            f"{path}: is not a file; give a CSV file with the columns file, start, end, speaker, emotion, or"
            " audformat=FOLDER"
        )
    faults = Faults(path)
    rows = read_rows(path, "a list of segments", _check_columns, faults)
    segments = [_segment(path, number, row, faults) for number, row in rows if _is_complete(row)]
    check_segments([segment for segment in segments if segment.file], faults)
    faults.require_none()
    if not segments:
        raise CorpusError(f"{path}: lists no segment below its header")
    return CutList(path, path.parent, tuple(segments), synthetic=is_synthetic(path.parent))


def _check_columns(columns: Sequence[str], faults: Faults) -> None:
    given = [name for name in columns if name in _FILE]
    if len(set(given)) > 1:
        faults.add(1, "has the columns file and path; name the recording in one of them")
    required = (given[0] if given else _FILE[0], *_TIMES, *_LABELS)
    check_columns(columns, required, [*dict.fromkeys(name for name in columns if name not in ("", *required))], faults)


def _is_complete(row: Row) -> bool:
    return {*_TIMES, *_LABELS} <= row.keys() and not row.keys().isdisjoint(_FILE)


def _segment(table: Path, number: int, row: Row, faults: Faults) -> LabelledSegment:
    """Return the segment of a row, and add the faults of its cells."""
    name = next(name for name in _FILE if name in row)
    for required in (name, *_LABELS):
        if not plain_name(row[required]):
            faults.add(number, f"{required} is empty")
    times = {}
    for column in _TIMES:
        try:
            times[column] = seconds_of(row[column])
        except ValueError as error:
            faults.add(number, f"{column}: {error}")
            times[column] = None
        else:
            if column == "start" and times[column] is None:
                faults.add(number, "start is empty")
    labels = {column: cell for column, cell in row.items() if column not in ("", name, *_TIMES)}
    audio = table.parent / expanded(Path(row[name]))
    return LabelledSegment(number, row[name], audio, times["start"] or 0.0, times["end"], labels)
