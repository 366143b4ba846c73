"""Confusion matrices for the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastser.experiment.tables import TABLES
from fastser.report.aggregation import Score
from fastser.report.cells import model_title
from fastser.report.context import ReportContext
from fastser.report.tables import Row

MOST_CELLS = 12_000
"""Number of cells of matrices that a page of a readable size holds."""


class ConfusionRow(NamedTuple):
    """A true class: its name, counts with their share of the row in percent, and the recall."""

    name: str
    cells: Sequence[tuple[int, int]]
    recall: str


@dataclass(frozen=True)
class ConfusionMatrix:
    """A confusion matrix, summed over folds and repeats."""

    system: str
    score: Score
    rows: Sequence[ConfusionRow]


@dataclass(frozen=True)
class ConfusionGroup:
    """The matrices of all systems for one corpus and condition.

    Attributes:
        title: Titles of corpus and condition.
        matrices: One matrix for each system.
        supplement: Whether only a supplement, such as that of single noise scenes, shows the condition.
    """

    title: str
    matrices: Sequence[ConfusionMatrix]
    supplement: bool


def confusion_groups(tables: dict[str, list[Row]], context: ReportContext) -> tuple[list[ConfusionGroup], int]:
    """Return the matrices of every measured cell up to `MOST_CELLS` of their cells, those of supplements last.

    Args:
        tables: Rows of the tables.
        context: Names of the classes.

    Returns:
        Groups, and the number of matrices that are left out.
    """
    by_title: dict[tuple[str, bool], list[ConfusionMatrix]] = {}
    cells, left_out = 0, 0
    for title, supplement, system, score in _measured(tables):
        cells += score.confusion.size
        if cells > MOST_CELLS:
            left_out += 1
        else:
            matrix = ConfusionMatrix(system, score, _rows(score, context.classes))
            by_title.setdefault((title, supplement), []).append(matrix)
    return [ConfusionGroup(title, matrices, extra) for (title, extra), matrices in by_title.items()], left_out


def _measured(tables: dict[str, list[Row]]) -> Iterator[tuple[str, bool, str, Score]]:
    """Yield title, membership in a supplement, system and score of each measured cell once."""
    seen = set()
    for name in sorted(tables, key=lambda name: TABLES[name].part_of is not None):
        for row in tables[name]:
            place = (*row.system, row.task, row.condition)
            if row.measured and place not in seen:
                seen.add(place)
                condition = row.title or ("across corpora" if row.task == "cross" else "clean speech")
                augmentation = f", {row.augmentation}" if row.augmentation != "none" else ""
                supplement = TABLES[name].part_of is not None
                yield f"{row.corpus}, {condition}", supplement, model_title(row.model) + augmentation, row.measured


def _rows(score: Score, classes: Sequence[str]) -> list[ConfusionRow]:
    rows = []
    for index, (name, counts) in enumerate(zip(classes, score.confusion.tolist(), strict=True)):
        total = sum(counts)
        shares = [(count, round(100 * count / total) if total else 0) for count in counts]
        rows.append(ConfusionRow(name, shares, f"{100 * counts[index] / total:.1f}" if total else "-"))
    return rows
