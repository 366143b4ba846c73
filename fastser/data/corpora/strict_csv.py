"""CSV files that people write for fastser. All faults are found, each with its line."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastser.data.file_kind import UTF16_MARKS, other_file

from .utterance import CorpusError

_FAULTS_SHOWN = 10
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


@dataclass(slots=True)
class Faults:
    """All faults of a file, each with its place."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, place: int | str, fault: str) -> None:
        """Add a fault.

        Args:
            place: Number of a line, or a phrase for another place.
            fault: What is wrong there.
        """
        self.found.append(f"line {place}: {fault}" if isinstance(place, int) else f"{place}: {fault}")

    def require_none(self) -> None:
        """Check that there are no faults.

        Raises:
            CorpusError: If there are. It lists the first `_FAULTS_SHOWN` in one line.
        """
        if self.found:
            raise CorpusError(self.sentence())

    def sentence(self) -> str:
        """Return one line with the first `_FAULTS_SHOWN` of at least one fault."""
        shown = "; ".join(self.found[:_FAULTS_SHOWN])
        if len(self.found) == 1:
            return f"{self.path}, {shown}"
        more = f"; and {len(self.found) - _FAULTS_SHOWN} more" if len(self.found) > _FAULTS_SHOWN else ""
        return f"{self.path}: {len(self.found)} faults: {shown}{more}"


Row = dict[str, str]
"""Stripped cells of a line by column, in lower case."""


def read_rows(
    path: Path, noun: str, check: Callable[[Sequence[str], Faults], None], faults: Faults
) -> list[tuple[int, Row]]:
    """Return the line number and the cells of every row that has the cells of the header.

    Args:
        path: CSV file with a header.
        noun: What the file should be, such as "a manifest".
        check: Function that adds the faults of the columns.
        faults: The faults of the file, to which those of the header and of rows are added.

    Raises:
        CorpusError: If the file is not text in UTF-8.
    """
    text = _text(path, noun)
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows = []
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if separator != ",":
            faults.add(1, f"the cells are separated by {_SEPARATORS[separator]}, they must be separated by commas")
        check(columns, faults)
        for cells in filter(None, reader):
            if len(cells) == len(columns):
                rows.append((reader.line_num, dict(zip(columns, map(str.strip, cells), strict=True))))
            else:
                faults.add(reader.line_num, f"{len(cells)} cells, not {len(columns)} as in the header")
    except csv.Error as error:
        faults.add(reader.line_num, f"is not a CSV file ({error})")
    return rows


def check_columns(columns: Sequence[str], required: Sequence[str], optional: Sequence[str], faults: Faults) -> None:
    """Check that a header has all required columns, and none of the named columns twice."""
    has = ", ".join(columns) or "nothing"
    if absent := [name for name in required if name not in columns]:
        nouns = "column" if len(absent) == 1 else "columns"
        faults.add(1, f"has no {nouns} {', '.join(absent)}; it has {has}")
    if doubled := [name for name in (*required, *optional) if columns.count(name) > 1]:
        nouns = "the column" if len(doubled) == 1 else "each of the columns"
        faults.add(1, f"must have {nouns} {', '.join(doubled)} once; it has {has}")


def _separator(text: str) -> str:
    """Return the separator of the header: the comma, unless only another one divides it."""
    header = text.partition("\n")[0]
    return max(_SEPARATORS, key=lambda separator: (separator in header and separator == ",", header.count(separator)))


def _text(path: Path, noun: str) -> str:
    content = path.read_bytes()
    if content.startswith(UTF16_MARKS):
        raise CorpusError(f"{path}: is not a CSV file in UTF-8, but in UTF-16; save it as UTF-8")
    if reason := other_file(content):
        raise CorpusError(f"{path}: {reason}; {noun} is a CSV file in UTF-8")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise CorpusError(f"{path}, line {line}: holds a zero byte, as files in UTF-16 do; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}, line {line}: is not a CSV file in UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8"
        ) from None
