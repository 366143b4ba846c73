"""A database in audEERING's audformat, such as `audb` downloads: `db.yaml` describes tables, which label the files.

Reading it needs the extra `fastser[audformat]`.
"""

import shlex
from contextlib import suppress
from pathlib import Path

from .audformat_database import EMOTION, HEADER, PARTS, SPEAKER, AudformatDatabase, Segment
from .base import Corpus, CorpusError, Utterance
from .canonical import canonical_emotion
from .files import is_synthetic, titled

TEXTS = ("text", "transcription", "transcript")
"""Names of schemes and columns that hold the spoken text."""

UNKNOWN_SPEAKER = "unknown"
"""Speaker of all files of a database that names no speakers."""


def read(path: Path) -> Corpus:
    """Read a database, or one of its tables: `audformat=FOLDER` or `audformat=FOLDER/db.TABLE.csv` (or `.parquet`).

    The emotion is the column whose scheme or name is "emotion", the speaker that of "speaker" in any table. If no
    column has it, the labels of another scheme may have such a field. A folder gives the table "emotion", or else all
    tables with an emotion of whole files. Without a speaker, all files have the speaker "unknown". The split of the
    tables is taken if it has all parts. The text is that of a scheme or column in `TEXTS`.

    Raises:
        CorpusError: If the library is missing, this is no such database, no table labels whole files, or tables
            contradict each other.
    """
    database = AudformatDatabase(path)
    chosen = _whole(database, chosen_tables(database), path)
    emotions = database.joined_labels(chosen, EMOTION)
    speakers = speakers_of(database, [*emotions])
    splits, texts = splits_of(database, chosen), texts_of(database)
    utterances, without_audio = [], []
    for segment, value in emotions.items():
        emotion, audio = canonical_emotion(value), database.audio(segment.file)
        if audio.is_file():
            split, text = splits.get(segment), texts.get(segment)
            utterances.append(Utterance(segment.file, audio, speakers[segment], emotion, split=split, text=text))
        else:
            without_audio.append((segment.file, emotion))
    synthetic = is_synthetic(database.root)
    title = titled(database.name, synthetic)
    return Corpus("audformat", title, path, tuple(utterances), without_audio=tuple(without_audio), synthetic=synthetic)


def chosen_tables(database: AudformatDatabase) -> list[str]:
    """Return the tables that could give the emotion: the given one, or all with an emotion.

    Raises:
        CorpusError: If there is none.
    """
    labelled = database.with_scheme(EMOTION)
    if database.table is not None and database.has_scheme(database.table, EMOTION):
        return [database.table]
    if database.table is not None or not labelled:
        about = f"the table '{database.table}'" if database.table else "one of the tables"
        there = f"tables that have one are {', '.join(labelled)}" if labelled else "no table has one"
        raise CorpusError(f"{database.root / HEADER}: {about} must have a column of the scheme '{EMOTION}'; {there}")
    return labelled


def speakers_of(database: AudformatDatabase, segments: list[Segment]) -> dict[Segment, str]:
    """Return the speaker of each segment: that of the same segment in any table, or else that of its file.

    Raises:
        CorpusError: If the database names speakers but not all of these, or tables contradict each other.
    """
    known = database.joined_labels(database.with_scheme(SPEAKER), SPEAKER)
    speakers = {segment: known.get(segment, known.get(Segment(segment.file))) for segment in segments}
    unnamed = [segment for segment, speaker in speakers.items() if speaker is None]
    if unnamed and known:
        raise CorpusError(
            f"{database.root}: {unnamed[0]} has no speaker, and others have one ({len(unnamed)} of {len(segments)} have"
            " none); name all speakers, or folds could test a speaker that they train on"
        )
    return {segment: speaker or UNKNOWN_SPEAKER for segment, speaker in speakers.items()}


def splits_of(database: AudformatDatabase, tables: list[str]) -> dict[Segment, str]:
    """Return the part of the split that each segment belongs to, or nothing unless the tables are all parts.

    Raises:
        CorpusError: If a segment belongs to two parts.
    """
    parts = {table: part for table in tables if (part := database.split(table))}
    if len(parts) < len(tables) or set(parts.values()) != PARTS:
        return {}
    found: dict[Segment, str] = {}
    for table, part in parts.items():
        for segment in database.labels(table, EMOTION):
            if found.setdefault(segment, part) != part:
                raise CorpusError(
                    f"{database.root}: {segment} belongs to the parts {found[segment]} and {part} of the split;"
                    f" name one table, such as {database.file(table)}"
                )
    return found


def texts_of(database: AudformatDatabase) -> dict[Segment, str]:
    """Return the text of each segment in any table. No result depends on it, so a damaged table has none."""
    found: dict[Segment, str] = {}
    for scheme in TEXTS:
        for table in database.with_scheme(scheme):
            with suppress(CorpusError):
                found = database.labels(table, scheme) | found
    return found


def _whole(database: AudformatDatabase, tables: list[str], path: Path) -> list[str]:
    """Return the table "emotion" if its rows are whole files, or else all tables with such rows."""
    if EMOTION in tables and _part(database, EMOTION) is None:
        return [EMOTION]
    partial = {table: segment for table in tables if (segment := _part(database, table)) is not None}
    if len(partial) == len(tables):
        table, segment = next(iter(partial.items()))
        raise CorpusError(
            f"{database.file(table)}: labels segments of recordings, such as {segment}; cut them into files of their"
            f" own with python -m fastser.cut {shlex.quote(f'audformat={path}')} OUT"
        )
    return [table for table in tables if table not in partial]


def _part(database: AudformatDatabase, table: str) -> Segment | None:
    """Return a row of a table that is not a whole file, or None."""
    if not database.is_segmented(table):
        return None
    return next((segment for segment in database.labels(table, EMOTION) if not segment.is_whole), None)
