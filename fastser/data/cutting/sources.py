"""Places that list segments: an audformat database, or a CSV file."""

from pathlib import Path

from fastser.data.corpora.base import CorpusError
from fastser.data.corpora.readers import NOISE_READERS, READERS
from fastser.runtime.files import expanded

from .audformat_segments import read_audformat_segments
from .cut_list import CutList
from .segment_table import read_segment_table

_AUDFORMAT = "audformat"


def read_segments(source: str) -> CutList:
    """Read the segments that a source lists.

    Args:
        source: `audformat=FOLDER`, `audformat=FOLDER/db.TABLE.csv` (or `.parquet`), or the path of a CSV file.

    Raises:
        CorpusError: If the source lists no segments, or some of them cannot be cut.
    """
    name, equals, path = source.partition("=")
    if equals and name == _AUDFORMAT:
        if not (database := expanded(Path(path))).exists():
            raise CorpusError(f"{database}: does not exist (given as {_AUDFORMAT})")
        return read_audformat_segments(database)
    if equals and (name in READERS or name in NOISE_READERS):
        raise CorpusError(f"{source}: the recordings of {name} are not cut; give audformat=FOLDER or a CSV file")
    return read_segment_table(expanded(Path(source)))
