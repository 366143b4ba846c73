"""Tables as CSV: files that are written completely or not at all, and texts."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastser.runtime.files import atomic_write


@contextmanager
def csv_file(path: Path, columns: Iterable[str]) -> Iterator[Callable[[Iterable[Any]], object]]:
    """Write a CSV file. The block is given the function that writes a row.

    Args:
        path: The file. Its folder exists.
        columns: Names of the columns.
    """
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        yield writer.writerow


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table as CSV.

    Args:
        columns: Names of the columns.
        rows: Cells of each row.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()
