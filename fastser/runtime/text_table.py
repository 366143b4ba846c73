"""Tables of plain text for terminals."""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest

GAP = "  "
"""Space between columns."""

_NARROWEST = 6
"""Smallest width of a column whose cells are wrapped, in characters."""


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int, width: int | None = None) -> list[str]:
    """Return the lines of a table, the header first.

    Args:
        header: Column titles.
        rows: Cells of each row.
        left: Number of columns that are aligned left. The others are aligned right.
        width: Largest width of a line, or None. To fit, titles are wrapped that are wider than all cells below them,
            then the cells of the widest columns, those of the first column never.
    """
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    if width is not None and sum(widths) + len(GAP) * (len(widths) - 1) > width:
        words = [max(map(len, title.split()), default=0) for title in header]
        beside = [max((len(row[column]) for row in rows), default=0) for column in range(len(header))]
        widths[1:] = [max(word, cell) for word, cell in zip(words[1:], beside[1:], strict=True)]
    while width is not None and sum(widths) + len(GAP) * (len(widths) - 1) > width:
        widest = max(range(1, len(widths)), key=lambda column: widths[column], default=0)
        if widest == 0 or widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    lines = []
    for row in (header, *rows):
        wrapped = [[row[0]], *(textwrap.wrap(cell, size) for cell, size in zip(row[1:], widths[1:], strict=True))]
        for cells in zip_longest(*wrapped, fillvalue=""):
            aligned = [
                cell.ljust(size) if column < left else cell.rjust(size)
                for column, (cell, size) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append(GAP.join(aligned).rstrip())
    return lines
