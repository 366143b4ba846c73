"""Label files in CSV format with named columns."""

import csv
from collections.abc import Sequence
from pathlib import Path

from fastser.runtime.files import printable

from .files import is_hidden
from .utterance import CorpusError

Row = dict[str, str]
"""Cells of a line by column. A missing cell is empty."""


def read_label_table(file: Path, required: Sequence[str]) -> list[tuple[int, Row]]:
    """Return the line number and the stripped cells of every line after the header.

    Bytes that are not UTF-8 are replaced, because some releases mix encodings in columns of text.

    Args:
        file: CSV file with a header.
        required: Names of columns that it must have.

    Raises:
        CorpusError: If the file has no such header, or is no CSV file.
    """
    rows: list[tuple[int, Row]] = []
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        reader = csv.reader(stream, skipinitialspace=True, strict=True)
        try:
            columns = [name.strip() for name in next(reader, [])]
            for name in required:
                if name not in columns:
                    raise CorpusError(
                        f"{file}: has no column {name}, only {printable(', '.join(columns)) or 'an empty line'};"
                        f" a label file of this corpus has the columns {', '.join(required)}"
                    )
            for cells in filter(None, reader):
                padded = [*map(str.strip, cells), *[""] * (len(columns) - len(cells))]
                rows.append((reader.line_num, dict(zip(columns, padded, strict=False))))
        except csv.Error as error:
            raise CorpusError(f"{file}, line {reader.line_num}: is not a CSV file ({error})") from None
    return rows


def label_file(path: Path, names: Sequence[str], title: str) -> Path:
    """Return the first label file of some names, directly in a folder or one level below.

    Raises:
        CorpusError: If there is none.
    """
    for pattern in ("", "*/"):
        for name in names:
            for file in sorted(path.glob(pattern + name)):
                if file.is_file() and not is_hidden(file.relative_to(path).parts[0]):
                    return file
    raise CorpusError(
        f"{path}: is not {title}; give the folder that holds {' or '.join(names)}, directly or one level below"
    )


def columns_of(file: Path) -> list[str]:
    """Return the stripped columns of a CSV file, none for a file that is no CSV."""
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        try:
            return [name.strip() for name in next(csv.reader(stream, skipinitialspace=True, strict=True), [])]
        except csv.Error:
            return []
