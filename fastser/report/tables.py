"""Rows of the tables, and the CSV files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from fastser.augmentation import AUGMENTATIONS
from fastser.evaluation.condition import Condition
from fastser.experiment.tables import TABLES, Table
from fastser.models import MODELS
from fastser.report.aggregation import Score, Scores, std_of
from fastser.report.context import ReportContext
from fastser.report.published import published
from fastser.runtime.csv_file import csv_file
from fastser.training.yardsticks import YARDSTICK_AUGMENTATION, YARDSTICKS

CSV_COLUMNS = (
    "model",
    "augmentation",
    "condition",
    "corpus",
    "uar_mean",
    "uar_std",
    "n_repeats",
    "n_folds",
    "paper_uar",
    "paper_std",
    "uar_low",
    "uar_high",
)

METRIC_COLUMNS = ("table", "model", "augmentation", "condition", "corpus", "metric", "mean", "std", "n_repeats")


@dataclass(frozen=True)
class Row:
    """One cell of a table, with our score and the paper's.

    Attributes:
        model: Name of the network or yardstick, or of a quoted study.
        augmentation: Name of the augmentation. Empty for a quoted study.
        condition: Name of the condition, such as "noise-0db".
        title: Title of the condition in column headers.
        level: Level of the condition, such as an SNR in dB, or None.
        level_name: Name of the level, such as "SNR".
        task: Name of the task.
        corpus: Title of its corpora.
        ours: Our score, fractions. None for a quoted study, and where the plan has no run.
        paper_uar: The paper's UAR in percent, or None where our copy of the paper has no number.
        paper_std: The paper's standard deviation in percent, or None.
    """

    model: str
    augmentation: str
    condition: str
    title: str
    level: float | None
    level_name: str
    task: str
    corpus: str
    ours: Score | None
    paper_uar: float | None
    paper_std: float | None

    @property
    def quoted(self) -> bool:
        """Whether it is a study that the paper quotes."""
        return not self.augmentation

    @property
    def yardstick(self) -> bool:
        """Whether it is a yardstick, which the paper does not have."""
        return self.model in YARDSTICKS

    @property
    def system(self) -> tuple[str, str]:
        """Names of model and augmentation."""
        return self.model, self.augmentation

    @property
    def measured(self) -> Score | None:
        """Our score, if at least one run is finished."""
        return self.ours if self.ours and self.ours.finished else None


def build_tables(context: ReportContext) -> dict[str, list[Row]]:
    """Return the rows of every requested table, and of its supplements that have any."""
    scores = Scores(context.expected, context.runs)
    return {
        table.name: rows
        for table in TABLES.values()
        if (table.part_of or table.name) in context.parts
        and ((rows := _measured_rows(context, scores, table) + _study_rows(context, table)) or table.part_of is None)
    }


def on_one_axis(rows: Iterable[Row]) -> bool:
    """Return whether no two conditions of the rows have the same level, as two scenes at the same SNR do."""
    levels = {row.condition: row.level for row in rows if row.level is not None}
    return len(set(levels.values())) == len(levels)


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write one table: UAR in percent with two decimals, empty where nothing is known.

    `n_repeats` counts the repeats that have all of their folds, `n_folds` the folds behind the mean. `uar_low` and
    `uar_high` are the ends of the 95 % interval for new speakers.
    """
    with csv_file(path, CSV_COLUMNS) as write_row:
        for row in rows:
            ours = row.measured
            write_row(
                (
                    row.model,
                    row.augmentation,
                    row.condition,
                    row.corpus,
                    _percent(ours.mean if ours else None),
                    _percent(ours.std if ours else None),
                    row.ours.repeats if row.ours else "",
                    len(row.ours.by_fold) if row.ours else "",
                    "" if row.paper_uar is None else f"{row.paper_uar:.2f}",
                    "" if row.paper_std is None else f"{row.paper_std:.2f}",
                    _percent(ours.interval.low if ours and ours.interval else None),
                    _percent(ours.interval.high if ours and ours.interval else None),
                )
            )


def write_metrics(path: Path, tables: dict[str, list[Row]]) -> None:
    """Write every registered metric of every measured cell, one line each, in percent with two decimals."""
    with csv_file(path, METRIC_COLUMNS) as write_row:
        for name, rows in tables.items():
            for row in rows:
                if (ours := row.measured) is None:
                    continue
                where = (name, row.model, row.augmentation, row.condition, row.corpus)
                for metric, values in ours.metrics.items():
                    mean, std = float(np.mean(values)), std_of(values)
                    write_row((*where, metric, _percent(mean), _percent(std), ours.repeats))


def _measured_rows(context: ReportContext, scores: Scores, table: Table) -> list[Row]:
    """Return a row for every cell that is planned or that the paper has a number for."""
    columns = _columns(context, table)
    rows = []
    for task in table.tasks:
        if not (corpus := context.corpus(task)):
            continue
        for (model, augmentation), condition in product(_systems(table), columns):
            name = condition.name
            ours = scores.score(task, model, augmentation, name)
            paper = published().find(task, model, augmentation, name)
            if ours or paper:
                uar, std = (paper.uar, paper.std) if paper else (None, None)
                of = (name, condition.title, condition.level, condition.level_name)
                rows.append(Row(model, augmentation, *of, task, corpus, ours, uar, std))
    return rows


def _systems(table: Table) -> list[tuple[str, str]]:
    """Return the models of a table with their augmentations: networks, then yardsticks."""
    networks = product(table.models or MODELS, table.augmentations or AUGMENTATIONS)
    return [*networks, *((name, YARDSTICK_AUGMENTATION) for name in YARDSTICKS)]


def _columns(context: ReportContext, table: Table) -> Sequence[Condition]:
    """Return the conditions of a table. A supplement has only those that were tested."""
    tested = {name for run in context.runs for name in run.confusions}
    columns = table.columns(context.settings)
    return [condition for condition in columns if table.part_of is None or condition.name in tested]


def _study_rows(context: ReportContext, table: Table) -> list[Row]:
    """Return the studies that the paper quotes in a table, beside the corpora that they are about."""
    titles = published().corpora
    return [
        Row(study.name, "", study.condition, "", None, "", study.task, titles[study.task], None, study.uar, None)
        for study in published().study
        if study.table == table.name and (table.quotes_studies or context.on_paper_corpora(study.task))
    ]


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f}"
