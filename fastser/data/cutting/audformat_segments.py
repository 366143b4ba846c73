"""The segmented tables of an audformat database."""

from pathlib import Path

from fastser.data.corpora.audformat import chosen_tables, speakers_of, splits_of, texts_of
from fastser.data.corpora.audformat_database import EMOTION, SPEAKER, AudformatDatabase
from fastser.data.corpora.base import CorpusError
from fastser.data.corpora.files import is_synthetic
from fastser.data.corpora.strict_csv import Faults

from .cut_list import CutList, LabelledSegment, check_segments


def read_audformat_segments(path: Path) -> CutList:
    """Read the segments of a database folder, or of one of its tables.

    A folder gives the segmented table "emotion", or else all segmented tables with an emotion. Speaker, split and text
    are those that the reader of whole files takes. Rows without emotion are left out.

    Raises:
        CorpusError: If this is no such database, no segmented table has an emotion, or tables contradict each other.
    """
    database = AudformatDatabase(path)
    tables = [table for table in chosen_tables(database) if database.is_segmented(table)]
    if not tables:
        raise CorpusError(
            f"{path}: no segmented table has a column of the scheme '{EMOTION}', so there is nothing to cut; other"
            f" commands read tables of whole files as --source audformat={path}"
        )
    tables = [EMOTION] if EMOTION in tables else tables
    emotions = database.joined_labels(tables, EMOTION)
    speakers = speakers_of(database, [*emotions])
    splits, texts = splits_of(database, tables), texts_of(database)
    segments = []
    for segment, emotion in emotions.items():
        labels = {SPEAKER: speakers[segment], EMOTION: emotion}
        if splits:
            labels["split"] = splits[segment]
        if texts:
            labels["text"] = texts.get(segment, "")
        audio = database.audio(segment.file)
        segments.append(LabelledSegment(str(segment), segment.file, audio, segment.start, segment.end, labels))
    faults = Faults(path)
    check_segments(segments, faults)
    faults.require_none()
    if not segments:
        raise CorpusError(f"{path}: no row of {', '.join(tables)} has an emotion")
    return CutList(path, database.root, tuple(segments), synthetic=is_synthetic(database.root))
