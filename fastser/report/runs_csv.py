"""`runs.csv`: one line for each run and condition."""

from collections.abc import Iterable
from pathlib import Path

from fastser.experiment.stored_runs import Run
from fastser.runtime.csv_file import csv_file

RUN_COLUMNS = (
    "task",
    "corpus",
    "model",
    "augmentation",
    "fold",
    "repeat",
    "condition",
    "uar",
    "accuracy",
    "seconds",
    "key",
    "kept_epoch",
)


def write_runs(path: Path, runs: Iterable[Run]) -> None:
    """Write one line for each run and condition: UAR and accuracy in percent with two decimals, seconds with one.

    `seconds` are those of the whole run, all conditions included. `kept_epoch` is empty for yardsticks.
    """
    with csv_file(path, RUN_COLUMNS) as write_row:
        for run in runs:
            point, seconds = run.id.point, run.seconds
            before = (point.task, run.id.corpus, point.model, point.augmentation, point.fold, point.repeat)
            after = ("" if seconds is None else f"{seconds:.1f}", run.id.key, run.metadata.get("kept_epoch") or "")
            for condition, values in run.metrics.items():
                scores = (f"{100 * values['uar']:.2f}", f"{100 * values['accuracy']:.2f}")
                write_row((*before, condition, *scores, *after))
