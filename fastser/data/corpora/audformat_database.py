"""A database folder in audEERING's audformat, read by the library of this name (extra `fastser[audformat]`).

A folder of `audformat.Database.save` or `audb.load_to`, and the cache of `audb.load`, hold the header `db.yaml` and
each table as `db.TABLE.csv` or `db.TABLE.parquet`. `audb` writes `db.TABLE.pkl` beside it, which the library prefers. A
downloaded pickle can run any code, and so can a header that is read with the library's YAML loader. This module reads
the header with the safe loader, and hands the library copies of the CSV and parquet files.
"""

import csv
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .files import AUDIO_SUFFIXES, require_folder
from .utterance import CorpusError

EMOTION, SPEAKER = "emotion", "speaker"
"""Names of the schemes that are read."""

HEADER = "db.yaml"
"""Name of the header."""

_KINDS = ("parquet", "csv")
"""Kinds of table files, in the order in which the library prefers them."""

_AGREED = ("ground truth", "vote")
"""Types of raters whose column stands for those of all raters."""

_SPLIT = {"train": "train", "dev": "validation", "test": "test"}
"""Parts of a split by their names in audformat."""

PARTS = frozenset(_SPLIT.values())
"""All parts of a split."""


class Segment(NamedTuple):
    """A part of a recording.

    Attributes:
        file: The recording, as the table gives it.
        start: Start in seconds.
        end: End in seconds, or None for that of the recording.
    """

    file: str
    start: float = 0.0
    end: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the segment is the whole recording."""
        return self.start == 0 and self.end is None

    def __str__(self) -> str:
        end = "the end" if self.end is None else f"{self.end:g} s"
        return self.file if self.is_whole else f"{self.file} from {self.start:g} s to {end}"


class _Place(NamedTuple):
    """Column of a table that holds a scheme, or whose labels have the scheme as a field.

    Attributes:
        column: Name of the column.
        field: Field of the labels of its scheme, or None where the column holds the scheme itself.
    """

    column: str
    field: str | None


class AudformatDatabase:
    """Header and tables of a database. Tables are read when their labels are asked for.

    Args:
        path: Folder of the database, its `db.yaml`, or the file of one table.

    Attributes:
        root: Folder of the database.
        name: Name that the header gives, or that of the folder.
        table: Name of the table whose file was given, or None.

    Raises:
        CorpusError: If the library is not installed, or this is no such database.
    """

    def __init__(self, path: Path) -> None:
        self._given = path if path.is_file() and path.name != HEADER else None
        self.root = path.parent if path.is_file() else path
        require_folder(self.root, "an audformat database")
        header = self.root / HEADER
        if not header.is_file():
            raise CorpusError(f"{self.root}: is not an audformat database; give the folder that holds {HEADER}")
        self.table = None if self._given is None else _table_of(self._given)
        with _naming(header):
            self._db = _database(header)
        if not self._db.tables:
            raise CorpusError(f"{header}: describes no tables; an audformat header has a mapping 'tables'")
        self.name = str(self._db.name or self.root.resolve().name)
        self._loaded: set[str] = set()

    def with_scheme(self, scheme: str) -> list[str]:
        """Return the tables with a column of a scheme, or else those whose labels have it as a field."""
        places = {name: found for name in self._db.tables if (found := self._places(name, scheme))}
        return [name for name, found in places.items() if found[0].field is None] or [*places]

    def has_scheme(self, table: str, scheme: str) -> bool:
        """Return whether a table exists and has a column of a scheme, or labels with such a field."""
        return table in self._db.tables and bool(self._places(table, scheme))

    def is_segmented(self, table: str) -> bool:
        """Return whether the rows of a table are parts of recordings, which may still be whole ones."""
        return bool(self._db.tables[table].is_segmented)

    def split(self, table: str) -> str | None:
        """Return the part of the split that a table is, "train", "validation" or "test", or None."""
        split = self._db.tables[table].split
        return None if split is None else _SPLIT.get(split.type)

    def file(self, table: str) -> Path:
        """Return the file of a table.

        Raises:
            CorpusError: If it is missing, or if there is only a pickle.
        """
        if self._given is not None and table == self.table:
            return self._given
        for kind in _KINDS:
            if (file := self.root / f"db.{table}.{kind}").is_file():
                return file
        if (pickle := self.root / f"db.{table}.pkl").is_file():
            raise CorpusError(f"{pickle}: {_PICKLE}")
        raise CorpusError(
            f"{self.root / f'db.{table}.csv'}: is missing, and so is db.{table}.parquet; copy or load it too"
        )

    def audio(self, file: str) -> Path:
        """Return the audio of a file of the tables, which `audb` may have converted to another format.

        Args:
            file: The file as a table gives it. The tables keep the suffix that it had before.

        Returns:
            The file, or the one with another suffix where only that exists.
        """
        audio = self.root / file
        others = (audio.with_suffix(suffix) for suffix in AUDIO_SUFFIXES)
        return audio if audio.is_file() else next((other for other in others if other.is_file()), audio)

    def labels(self, table: str, scheme: str) -> dict[Segment, str]:
        """Return the label of each row of a table, without missing ones.

        Args:
            table: Name of a table with the scheme.
            scheme: Name of the scheme.

        Raises:
            CorpusError: If a file is missing or damaged, a row occurs with two labels, or several columns could be the
                scheme.
        """
        place, *others = self._places(table, scheme)
        if others:
            columns = ", ".join(column for column, _ in (place, *others))
            raise CorpusError(
                f"{self.root / HEADER}: the table {table} has several columns of the scheme '{scheme}' ({columns});"
                f" give the one to use the name '{scheme}'"
            )
        for needed in self._label_tables(table):
            self._load(needed, self._db.misc_tables[needed])
        self._load(table, self._db.tables[table])
        found: dict[Segment, str] = {}
        with _naming(self.file(table)):
            for segment, label in _rows(self._db.tables[table], place):
                if found.setdefault(segment, label) != label:
                    raise CorpusError(
                        f"{self.file(table)}: gives {segment} the {scheme} {found[segment]} and {label}; keep one"
                    )
        return found

    def joined_labels(self, tables: list[str], scheme: str) -> dict[Segment, str]:
        """Return the label of each segment in several tables.

        Raises:
            CorpusError: As for `labels`, or if two tables contradict each other.
        """
        found: dict[Segment, tuple[str, str]] = {}
        for table in tables:
            for segment, label in self.labels(table, scheme).items():
                earlier, where = found.setdefault(segment, (label, table))
                if earlier != label:
                    choose = f"name one table, such as {self.file(where)}"
                    raise CorpusError(
                        f"{self.root}: the tables {where} and {table} give {segment} the {scheme} {earlier} and"
                        f" {label}; {choose if scheme == EMOTION else 'correct one of them'}"
                    )
        return {segment: label for segment, (label, _) in found.items()}

    def _places(self, table: str, scheme: str) -> list[_Place]:
        """Return the columns of a scheme: the one of this name, the one that all raters agreed on, or all.

        Without any, return the first column whose labels have the scheme as a field.
        """
        with _naming(self.root / HEADER):
            columns = self._db.tables[table].columns
            direct = [name for name, column in columns.items() if scheme in (name, column.scheme_id)]
            agreed = [name for name in direct if _rater_type(columns[name]) in _AGREED]
            if direct:
                return [_Place(name, None) for name in ([scheme] if scheme in direct else agreed or direct)]
            mapped = ((name, self._field(column.scheme_id, scheme)) for name, column in columns.items())
            return [_Place(name, field) for name, field in mapped if field is not None][:1]

    def _field(self, scheme_id: str | None, wanted: str) -> str | None:
        """Return the field of a scheme's labels that has the wanted name or scheme, or None."""
        labels = None if scheme_id is None else self._db.schemes[scheme_id].labels
        if isinstance(labels, str):
            columns = self._db.misc_tables[labels].columns
            return next((name for name, column in columns.items() if wanted in (name, column.scheme_id)), None)
        described = labels.values() if isinstance(labels, dict) else ()
        return wanted if any(isinstance(fields, dict) and wanted in fields for fields in described) else None

    def _label_tables(self, table: str) -> list[str]:
        """Return the miscellaneous tables with the labels of a table's schemes."""
        with _naming(self.root / HEADER):
            ids = [column.scheme_id for column in self._db.tables[table].columns.values() if column.scheme_id]
            schemes = [self._db.schemes[id] for id in ids]
            return [scheme.labels for scheme in schemes if scheme.uses_table]

    def _load(self, name: str, table: Any) -> None:
        if name in self._loaded:
            return
        file = self.file(name)
        with tempfile.TemporaryDirectory(prefix="fastser-") as folder:
            copy = Path(folder, f"table{file.suffix}")
            shutil.copyfile(file, copy)
            with _naming(file, copy):
                if file.suffix == ".csv":
                    _check_order(file, [*_levels(table), *table.columns])
                table.load(str(copy.with_suffix("")))
        self._loaded.add(name)


_PICKLE = (
    "is a pickle, which could run any code when it is read; save the database with storage_format='csv' or 'parquet'"
)


def _table_of(file: Path) -> str:
    """Return the name of the table that a file holds."""
    if file.suffix == ".pkl":
        raise CorpusError(f"{file}: {_PICKLE}")
    if not file.name.startswith("db.") or file.suffix.removeprefix(".") not in _KINDS:
        raise CorpusError(f"{file}: is not a table of an audformat database, such as db.emotion.csv or .parquet")
    return file.stem.removeprefix("db.")


def _database(header: Path) -> Any:
    """Return the database of a header, without its tables."""
    try:
        import audformat
        import yaml  # of audformat's requirements
    except ImportError as error:
        raise CorpusError(
            f"{header}: reading it needs the library audformat ({error}); install it with pip install"
            " 'fastser[audformat]', or '.[audformat]' in a clone"
        ) from None
    content = yaml.safe_load(header.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        raise CorpusError(f"{header}: is not the header of an audformat database, which is a YAML mapping")
    return audformat.Database.load_header_from_yaml(content)


def _rows(table: Any, place: _Place) -> Iterator[tuple[Segment, str]]:
    """Yield segment and label of each row that has a label."""
    values = table.columns[place.column].get(map=place.field).dropna()
    labels = map(_text, values.tolist())
    files = values.index.get_level_values("file").astype(str).tolist()
    if not table.is_segmented:
        yield from ((Segment(file), label) for file, label in zip(files, labels, strict=True) if label)
        return
    starts = values.index.get_level_values("start").total_seconds().tolist()
    ends = values.index.get_level_values("end").total_seconds().tolist()
    for file, start, end, label in zip(files, starts, ends, labels, strict=True):
        if start != start:
            raise ValueError(f"a segment of {file} has no start")
        if label:
            yield Segment(file, start, None if end != end else end), label


def _text(value: object) -> str:
    """Return a label as text. A whole number has no decimals, which it has in columns with missing values."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _levels(table: Any) -> list[str]:
    """Return the names of the columns of a table's index."""
    if hasattr(table, "levels"):
        return [*table.levels]
    return ["file", "start", "end"] if table.is_segmented else ["file"]


def _check_order(file: Path, expected: list[str]) -> None:
    """Check the header of a CSV file, whose columns the library takes by their places.

    Raises:
        CorpusError: If it has as many columns as the table, but other ones or another order.
    """
    with file.open(newline="", encoding="utf-8") as stream:
        found = next(csv.reader(stream), [])
    if len(found) == len(expected) and found != expected:
        raise CorpusError(f"{file}: has the columns {', '.join(found)}, but {HEADER} says {', '.join(expected)}")


def _rater_type(column: Any) -> str | None:
    return None if column.rater_id is None or column.rater is None else str(column.rater.type)


@contextmanager
def _naming(file: Path, copy: Path | None = None) -> Iterator[None]:
    """Turn errors of the library into one sentence that names a file. There are many kinds of them.

    Args:
        file: The file.
        copy: Copy of it that the library reads.
    """
    try:
        yield
    except (CorpusError, MemoryError):
        raise
    except Exception as error:
        reason = _reason(error).replace(str(copy or file), file.name)
        raise CorpusError(f"{file}: cannot be read as part of an audformat database ({reason})") from None


def _reason(error: Exception) -> str:
    if type(error) is KeyError:
        return f"there is no {error}"
    return " ".join(str(error).split()) or type(error).__name__
