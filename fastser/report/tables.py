"""The paper's tables as rows: which cells each one has, and the CSV files."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastser.experiment.grid import AUGMENTATIONS, MODELS, Task, noise_parts
from fastser.experiment.store import Run
from fastser.report.aggregation import Grid, Summary
from fastser.report.context import ReportContext
from fastser.report.published import published
from fastser.runtime.files import atomic_write

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
)


@dataclass(frozen=True)
class Row:
    """One cell of a table: ours beside the paper's. UAR of ours is a fraction, the paper's is in percent.

    Attributes:
        model: Name of the model, or of a quoted study.
        augmentation: Name; empty for a quoted study.
        condition: Name, such as "noise-0db".
        task: What was trained and tested on.
        corpus: Its title.
        ours: None for a quoted study, and where the plan has no training.
        paper_uar: None where our copy of the paper has no number.
        paper_std: None where it has none.
    """

    model: str
    augmentation: str
    condition: str
    task: Task
    corpus: str
    ours: Summary | None
    paper_uar: float | None
    paper_std: float | None

    @property
    def measured(self) -> Summary | None:
        """Ours, if at least one training is finished."""
        return self.ours if self.ours and self.ours.finished else None


def build_tables(context: ReportContext) -> dict[str, list[Row]]:
    """Make the rows of every table asked for, and of Table 2 by noise scene ("table2-scenes")."""
    grid = Grid(context.expected, context.runs)
    noise, scenes = _noise_conditions(context.runs)
    cells: dict[str, tuple[Sequence[Task], Sequence[str], Sequence[str], Sequence[str]]] = {
        "table1": (("source", "target"), tuple(MODELS), ("none",), ("clean",)),
        "table2": (("source",), tuple(MODELS), AUGMENTATIONS, noise),
        "table2-scenes": (("source",), tuple(MODELS), AUGMENTATIONS, scenes),
        "table3": (("source",), tuple(MODELS), AUGMENTATIONS, ("fgsm", "bim")),
        "table4": (("cross",), ("proposed",), AUGMENTATIONS, ("cross-corpus",)),
        "figure2": (("cross",), tuple(MODELS), AUGMENTATIONS, ("cross-corpus",)),
    }
    return {
        name: _measured_rows(context, grid, *cell) + _study_rows(context, name)
        for name, cell in cells.items()
        if name.partition("-")[0] in context.parts
    }


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write one table, UAR in percent with two decimals, empty where nothing is known.

    `n_repeats` counts the repeats that have all of their folds, `n_folds` the folds behind the mean.
    """
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for row in rows:
            ours = row.measured
            writer.writerow(
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
                )
            )


def _noise_conditions(runs: Iterable[Run]) -> tuple[Sequence[str], Sequence[str]]:
    """The noise conditions that were tested, the paper's if none was yet; those of single scenes apart."""
    found = {name: parts for run in runs for name in run.confusions if (parts := noise_parts(name))}
    ordered = sorted(found, key=lambda name: found[name])
    mixed = [name for name in ordered if not found[name][0]]
    return mixed or ("noise-0db", "noise-10db", "noise-20db"), [name for name in ordered if found[name][0]]


def _measured_rows(
    context: ReportContext,
    grid: Grid,
    tasks: Sequence[Task],
    models: Sequence[str],
    augmentations: Sequence[str],
    conditions: Sequence[str],
) -> list[Row]:
    """A row for every cell that is planned or that the paper has a number for."""
    rows = []
    for task in tasks:
        if not (corpus := context.corpus(task)):
            continue
        for model in models:
            for augmentation in augmentations:
                for condition in conditions:
                    ours = grid.summary(task, model, augmentation, condition)
                    paper = published().find(task, model, augmentation, condition)
                    if ours or paper:
                        uar, std = (paper.uar, paper.std) if paper else (None, None)
                        rows.append(Row(model, augmentation, condition, task, corpus, ours, uar, std))
    return rows


def _study_rows(context: ReportContext, table: str) -> list[Row]:
    """The studies that the paper quotes in this table, beside the corpora that they are about."""
    return [
        Row(study.name, "", study.condition, study.task, published().corpora[study.task], None, study.uar, None)
        for study in published().study
        if study.table == table and (context.on_paper_corpora(study.task) or table == "table4")
    ]


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f}"
