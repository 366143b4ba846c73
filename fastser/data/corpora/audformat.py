"""A database in audEERING's audformat: `db.yaml` describes the tables, `db.TABLE.csv` labels the files.

The header is YAML, which needs the extra `fastser[audformat]`. Tables must be stored as CSV, one row for each file.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .base import Corpus, CorpusError, Utterance
from .canonical import canonical_emotion
from .files import is_synthetic, require_folder, titled
from .label_table import read_label_table

_EMOTION, _SPEAKER = "emotion", "speaker"
_SPLIT = {"train": "train", "dev": "validation", "test": "test"}
_ABSENT = ("", "nan", "NaN", "None", "<NA>")
"""Texts that stand for a missing value in a table."""

_FILEWISE = "filewise"


def read(path: Path) -> Corpus:
    """Read a database folder, or one table of it: `audformat=FOLDER` or `audformat=FOLDER/db.TABLE.csv`.

    The emotion is the column whose scheme or name is "emotion", the speaker that of "speaker" in any table. A folder
    gives the table "emotion", or else all tables with an emotion. Without a speaker, all files have the speaker
    "unknown". The split of the tables is taken if it has all parts.

    Raises:
        CorpusError: If this is no such database, no table labels whole files, or tables contradict each other.
    """
    table = path.name.removeprefix("db.").removesuffix(".csv") if path.is_file() else None
    root = path.parent if table else path
    require_folder(root, "an audformat database")
    header = _header(root)
    tables = _tables(root, header)
    chosen = _chosen(root, tables, table)
    speakers = _values(root, tables, tables, _SPEAKER)
    emotions = _values(root, tables, chosen, _EMOTION)
    splits = {
        file: _SPLIT.get(str(tables[name].get("split_id")))
        for name in chosen
        for file in _column(root, name, _column_of(tables[name], _EMOTION))
    }
    whole = set(splits.values()) == set(_SPLIT.values())
    if unnamed := [file for file in emotions if file not in speakers] if speakers else []:
        raise CorpusError(
            f"{root}: {unnamed[0]} has no speaker, and other files have one ({len(unnamed)} of {len(emotions)} have "
            "none); name all speakers, or folds could test a speaker that they train on"
        )
    utterances, without_audio = [], []
    for file, value in emotions.items():
        emotion, audio = canonical_emotion(value), root / file
        if audio.is_file():
            speaker = speakers.get(file, "unknown")
            utterances.append(Utterance(file, audio, speaker, emotion, split=splits[file] if whole else None))
        else:
            without_audio.append((file, emotion))
    synthetic = is_synthetic(root)
    title = titled(str(header.get("name") or root.resolve().name), synthetic)
    return Corpus("audformat", title, path, tuple(utterances), without_audio=tuple(without_audio), synthetic=synthetic)


def _header(root: Path) -> Mapping[str, Any]:
    file = root / "db.yaml"
    if not file.is_file():
        raise CorpusError(f"{root}: is not an audformat database; give the folder that holds db.yaml")
    try:
        import yaml
    except ImportError:
        raise CorpusError(
            f"{file}: reading it needs PyYAML; install it with pip install 'fastser[audformat]', or '.[audformat]' in "
            "a clone"
        ) from None
    try:
        header = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError for an impossible date
        reason = " ".join(str(error).split())
        raise CorpusError(f"{file}: is not the YAML header of an audformat database ({reason})") from None
    if not isinstance(header, dict) or not isinstance(header.get("tables"), dict):
        raise CorpusError(f"{file}: describes no tables; an audformat header has a mapping 'tables'")
    return header


def _tables(root: Path, header: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the descriptions of the tables that have one row for each file."""
    tables = {str(name): table for name, table in header["tables"].items() if isinstance(table, dict)}
    filewise = {name: table for name, table in tables.items() if table.get("type") == _FILEWISE}
    if not filewise:
        kinds = ", ".join(f"{name} ({table.get('type')})" for name, table in sorted(tables.items()))
        raise CorpusError(
            f"{root / 'db.yaml'}: no table has one row for each file, there are {kinds or 'none'};"
            " cut segments into files of their own, or write a manifest"
        )
    return filewise


def _chosen(root: Path, tables: Mapping[str, Mapping[str, Any]], wanted: str | None) -> list[str]:
    """Return the names of the tables that give the emotion."""
    labelled = [name for name, table in tables.items() if _column_of(table, _EMOTION)]
    if (wanted is not None and wanted not in labelled) or not labelled:
        there = ", ".join(labelled or tables)
        about = f"the table '{wanted}'" if wanted else "the tables"
        raise CorpusError(
            f"{root / 'db.yaml'}: {about} of whole files must have a column of the scheme 'emotion';"
            f" {'tables that have one' if labelled else 'tables of whole files'} are {there}"
        )
    if wanted is not None:
        return [wanted]
    return [_EMOTION] if _EMOTION in labelled else labelled


def _column_of(table: Mapping[str, Any], scheme: str) -> str:
    """Return the name of the column of a scheme, or else of that name, or an empty text."""
    columns = table.get("columns")
    if not isinstance(columns, dict):
        return ""
    of_scheme = [n for n, column in columns.items() if isinstance(column, dict) and column.get("scheme_id") == scheme]
    return scheme if scheme in columns else str(next(iter(of_scheme), ""))


def _values(root: Path, tables: Mapping[str, Mapping[str, Any]], names: Iterable[str], scheme: str) -> dict[str, str]:
    """Return the value of a scheme for each file, from several tables."""
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        if not (column := _column_of(tables[name], scheme)):
            continue
        for file, value in _column(root, name, column).items():
            earlier, where = found.setdefault(file, (value, name))
            if earlier != value:
                raise CorpusError(
                    f"{root}: the tables {where} and {name} give {file} the {scheme} {earlier} and {value};"
                    f" name one table, such as {root / f'db.{where}.csv'}"
                )
    return {file: value for file, (value, _) in found.items()}


def _column(root: Path, table: str, column: str) -> dict[str, str]:
    """Return the values of a column by file, without missing ones."""
    file = root / f"db.{table}.csv"
    if not file.is_file():
        other = [kind for kind in ("parquet", "pkl") if (root / f"db.{table}.{kind}").is_file()]
        advice = f"it is stored as {other[0]}, save the database as CSV" if other else "the copy is incomplete"
        raise CorpusError(f"{file}: is missing; {advice}")
    rows = read_label_table(file, ("file", column))
    return {row["file"]: row[column] for _, row in rows if row[column] not in _ABSENT}
