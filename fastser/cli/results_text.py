"""Tables at the end of a run: the paper's number and ours with its interval, as plain text."""

import textwrap
from collections.abc import Iterator, Sequence

from fastser.experiment.tables import TABLES
from fastser.report.cells import paper_corpus, plain_title, plus_minus
from fastser.report.context import ReportContext
from fastser.report.published import published
from fastser.report.tables import Row, build_tables
from fastser.runtime.text_table import GAP, text_table

WIDTH = 100
"""Largest width of a table, in characters."""

INCOMPLETE = "*"
"""Mark of a number that some runs are missing for."""

Column = tuple[str, list[str]]
"""Title and cells."""


def result_lines(context: ReportContext, width: int) -> list[str]:
    """Return the lines of every requested table that has a result.

    Args:
        context: Content of the report.
        width: Width of the terminal, in characters. No table is wider than `WIDTH`.
    """
    width = min(width, WIDTH)
    lines: list[str] = []
    for name, rows in build_tables(context).items():
        if TABLES[name].part_of is None and any(row.measured for row in rows):
            unknown = TABLES[name].in_paper and all(row.paper_uar is None for row in rows if not row.quoted)
            lines += [*textwrap.wrap(context.heading(name), width), *_table([r for r in rows if not r.quoted], width)]
            lines += [*(textwrap.wrap(f"paper: {published().unknown}", width) if unknown else ()), ""]
    if not lines:
        return []
    notes = "ours: mean [95 % interval for new speakers]. paper: mean ± standard deviation over repeats."
    missing = f" {INCOMPLETE} some runs are missing." if any(INCOMPLETE in line for line in lines) else ""
    return [*lines, *textwrap.wrap(notes + missing, width)]


def _table(rows: Sequence[Row], width: int) -> Iterator[str]:
    """Yield the lines of one table. Conditions that do not fit beside the others follow below them."""
    systems = list(dict.fromkeys((row.model, row.augmentation) for row in rows))
    first: list[Column] = [("model", [plain_title(model) for model, _ in systems])]
    if any(augmentation != "none" for _, augmentation in systems):
        first.append(("augmentation", [augmentation for _, augmentation in systems]))
    cells = {(row.model, row.augmentation, row.task, row.condition): row for row in rows}
    pairs = [
        _pair([cells.get((*system, *place)) for system in systems], several=len({row.task for row in rows}) > 1)
        for place in dict.fromkeys((row.task, row.condition) for row in rows)
    ]
    block = list(first)
    for pair in pairs:
        if len(block) > len(first) and _width([*block, *pair]) > width:
            yield from _lines(block, len(first))
            yield ""
            block = list(first)
        block += pair
    yield from _lines(block, len(first))


def _pair(column: Sequence[Row | None], several: bool) -> list[Column]:
    """Return the columns of one condition: the paper's if it has a number, and ours.

    Args:
        column: Row of each system, or None.
        several: Whether the table has several tasks, so that the titles name the corpora.
    """
    some = next(row for row in column if row)
    condition = f", {some.title}" if some.title else ""
    corpus = paper_corpus(some.task, column)
    papers, ours = (f" {corpus}", f" {some.corpus}") if several else (f" ({corpus})", "")
    pair = [(f"ours{ours}{condition}", [_ours(row) for row in column])]
    if any(row and row.paper_uar is not None for row in column):
        pair.insert(0, (f"paper{papers}{condition}", [_paper(row) for row in column]))
    return pair


def _paper(row: Row | None) -> str:
    if row is None or row.paper_uar is None:
        return "-"
    return plus_minus(row.paper_uar, row.paper_std)


def _ours(row: Row | None) -> str:
    score = row.measured if row else None
    if score is None:
        return "-"
    between = f" [{100 * score.interval.low:.1f}, {100 * score.interval.high:.1f}]" if score.interval else ""
    return f"{100 * score.mean:.1f}{between}{'' if score.complete else f' {INCOMPLETE}'}"


def _width(columns: Sequence[Column]) -> int:
    return sum(max(map(len, (title, *cells))) + len(GAP) for title, cells in columns) - len(GAP)


def _lines(columns: Sequence[Column], left: int) -> list[str]:
    titles, cells = zip(*columns, strict=True)
    return text_table(titles, list(zip(*cells, strict=True)), left)
