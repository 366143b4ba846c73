"""The CSV file of a sensitivity report."""

from collections.abc import Iterable
from pathlib import Path

from fastser.report.context import ReportContext
from fastser.report.sensitivity import Move
from fastser.runtime.csv_file import csv_file

CSV_COLUMNS = (
    "question",
    "open",
    "answer",
    "model",
    "augmentation",
    "condition",
    "corpus",
    "baseline_uar",
    "answer_uar",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "n_folds",
    "n_repeats",
)


def write_sensitivity_csv(path: Path, found: Iterable[Move], context: ReportContext) -> None:
    """Write every move, one line each: UAR and differences in percent with two decimals.

    `low` and `high` are the ends of the 95 % interval of the difference for new speakers. They and the p-values are
    empty where a single speaker was tested. `open` is empty for own answers.

    Args:
        path: The CSV file.
        found: All moves.
        context: Titles of the corpora.
    """
    with csv_file(path, CSV_COLUMNS) as write_row:
        for move in found:
            ends = move.difference
            write_row(
                (
                    move.question.name,
                    move.question.number,
                    move.answer,
                    move.model,
                    move.augmentation,
                    move.condition.name,
                    context.corpus(move.task),
                    *(f"{100 * value:.2f}" for value in (move.baseline, move.answered, move.value)),
                    *(f"{100 * end:.2f}" for end in ((ends.low, ends.high) if ends else ())),
                    *(f"{p:.4f}" for p in ((ends.p, move.p_holm) if ends else ())),
                    *([""] * (0 if ends else 4)),
                    move.folds,
                    move.repeats,
                )
            )
