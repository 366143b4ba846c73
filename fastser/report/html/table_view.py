"""Tables for the page: the paper's number and ours with its interval, side by side."""

from collections.abc import Sequence
from typing import NamedTuple

from fastser.report.cells import (
    BELOW,
    best_and_below,
    condition_title,
    interval_text,
    model_title,
    ours_text,
    paper_corpus,
    paper_text,
    runs_text,
)
from fastser.report.tables import Row


class Cell(NamedTuple):
    """A cell: its text, a smaller text below it, and the name of its style."""

    text: str
    small: str = ""
    style: str = ""


class TableView(NamedTuple):
    """A table: groups of columns with their widths, columns, and lines of a system's title and its cells."""

    groups: Sequence[tuple[str, int]]
    columns: Sequence[str]
    lines: Sequence[tuple[str, str, Sequence[Cell]]]


def table_view(rows: Sequence[Row]) -> TableView:
    """Return a table with a line for each model and augmentation, and a group of columns for each condition.

    A group has the paper's number where the paper has one for any row of the table, and ours. The last columns give the
    number of runs for each task, under the title of its corpus where there are several.
    """
    cells = {(*row.system, row.task, row.condition): row for row in rows}
    systems = list(dict.fromkeys(row.system for row in rows))
    conditions = {(row.task, row.condition): row for row in rows if not row.quoted}
    tasks = list(dict.fromkeys(task for task, _ in conditions))
    several_tasks = len(tasks) > 1
    paper_knows = any(row.paper_uar is not None for row in rows)
    groups, columns, by_column = [], [], []
    for task, condition in conditions:
        column = [cells.get((*system, task, condition)) for system in systems]
        groups.append((condition_title(conditions[task, condition], several_tasks), 1 + paper_knows))
        if paper_knows:
            columns.append(f"paper ({paper_corpus(task, rows)})")
            by_column.append([Cell(paper_text(row), style="paper") for row in column])
        columns.append("ours")
        best, below = best_and_below(column)
        by_column.append([_ours(row, best, below) for row in column])
    groups.append(("repeats x folds" if several_tasks else "runs", len(tasks)))
    for task in tasks:
        columns.append(next(row.corpus for row in rows if row.task == task) if several_tasks else "repeats x folds")
        of_systems = [[row for row in rows if (*row.system, row.task) == (*system, task)] for system in systems]
        by_column.append([Cell(runs_text(of_system), style="runs") for of_system in of_systems])
    lines = [
        (model_title(model), augmentation, line)
        for (model, augmentation), line in zip(systems, zip(*by_column, strict=True), strict=True)
    ]
    return TableView(groups, columns, lines)


def _ours(row: Row | None, best: set[tuple[str, str]], below: set[tuple[str, str]]) -> Cell:
    if row is None or row.quoted:
        return Cell("-")
    if row.measured is None:
        return Cell("not run", style="runs")
    mark = f" {BELOW}" if row.system in below else ""
    return Cell(ours_text(row.measured) + mark, interval_text(row.measured), "best" if row.system in best else "")
