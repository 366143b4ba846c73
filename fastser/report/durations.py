"""Durations of runs, summed up by model and augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from fastser.experiment.stored_runs import Run


@dataclass(frozen=True, slots=True)
class Duration:
    """Runs of one system on one task.

    Attributes:
        corpus: Titles of the corpora.
        model: Name of the model.
        augmentation: Name of the augmentation.
        runs: Number of finished runs with recorded times.
        seconds: Seconds of training and tests, over all runs.
        epochs: Median number of epochs. 0 for a yardstick.
        kept_epoch: Median of the epochs whose weights were kept. 0 for a yardstick.
    """

    corpus: str
    model: str
    augmentation: str
    runs: int
    seconds: float
    epochs: float
    kept_epoch: float


def durations(runs: Sequence[Run]) -> list[Duration]:
    """Sum up the times of finished runs. Runs without recorded times are left out."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        if run.seconds is not None:
            point = run.id.point
            groups.setdefault((run.id.corpus, point.model, point.augmentation), []).append(run)
    return [
        Duration(
            *system,
            len(group),
            sum(run.seconds or 0.0 for run in group),
            float(median(len(run.metadata["epochs"]) for run in group)),
            float(median(run.metadata["kept_epoch"] for run in group)),
        )
        for system, group in groups.items()
    ]
