"""Many trainings to one number: mean over folds, then mean and standard deviation over repeats."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastser.metrics import accuracy_of, uar_of
from fastser.protocol import Task
from fastser.results import Run, TrainingId


@dataclass(frozen=True)
class Summary:
    """One model under one condition, over all its folds and repeats. Fractions.

    Attributes:
        by_repeat: For each repeat the mean over its finished folds of the UAR; empty if nothing is finished.
        by_fold: For each fold the mean over its finished repeats of the UAR.
        confusion: int64 [4, 4], summed over folds and repeats.
        finished: Number of trainings in it.
        planned: Number of trainings that the plan has for it.
    """

    by_repeat: tuple[float, ...]
    by_fold: tuple[float, ...]
    confusion: NDArray[np.int64]
    finished: int
    planned: int

    @property
    def mean(self) -> float:
        """Mean UAR over the repeats."""
        return float(np.mean(self.by_repeat))

    @property
    def std(self) -> float | None:
        """Standard deviation over the repeats (n - 1), None for a single repeat."""
        return _std(self.by_repeat)

    @property
    def fold_std(self) -> float | None:
        """Standard deviation over the folds (n - 1), None for a single fold."""
        return _std(self.by_fold)

    @property
    def pooled_uar(self) -> float:
        """UAR of the summed confusion matrix."""
        return uar_of(self.confusion)

    @property
    def accuracy(self) -> float:
        """Weighted accuracy of the summed confusion matrix."""
        return accuracy_of(self.confusion)

    @property
    def complete(self) -> bool:
        """Whether every planned training is in it."""
        return self.finished == self.planned


class Grid:
    """The finished trainings of a plan, ready to be summed up cell by cell."""

    def __init__(self, expected: Sequence[TrainingId], runs: Sequence[Run]) -> None:
        self._planned = Counter((t.task, t.model, t.augmentation) for t in expected)
        self._runs: defaultdict[tuple[str, str, str], list[Run]] = defaultdict(list)
        for run in runs:
            self._runs[run.id.task, run.id.model, run.id.augmentation].append(run)

    def summary(self, task: Task, model: str, augmentation: str, condition: str) -> Summary | None:
        """Sum up one cell; None if the plan has no training for it."""
        cell = (task, model, augmentation)
        if not self._planned[cell]:
            return None
        runs = [run for run in self._runs[cell] if condition in run.confusions]
        by_repeat, by_fold = defaultdict(list), defaultdict(list)
        for run in sorted(runs, key=lambda run: (run.id.repeat, run.id.fold)):
            uar = uar_of(run.confusions[condition])
            by_repeat[run.id.repeat].append(uar)
            by_fold[run.id.fold].append(uar)
        return Summary(
            by_repeat=tuple(float(np.mean(uars)) for uars in by_repeat.values()),
            by_fold=tuple(float(np.mean(uars)) for uars in by_fold.values()),
            confusion=sum((run.confusions[condition] for run in runs), np.zeros((4, 4), np.int64)),
            finished=len(runs),
            planned=self._planned[cell],
        )


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
