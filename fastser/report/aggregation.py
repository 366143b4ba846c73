"""Many trainings to one number: mean over folds, then mean and standard deviation over repeats.

Folds differ far more than repeats do, as some speakers are harder than others. So a repeat counts only when all of its
folds are finished; while there is no such repeat, those that were begun stand in for it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastser.evaluation.metrics import accuracy_of, uar_of
from fastser.experiment.grid import Task
from fastser.experiment.store import Run, RunId


@dataclass(frozen=True)
class Summary:
    """One model under one condition, over the folds and repeats that count. Fractions.

    Attributes:
        by_repeat: For each repeat the mean over its folds of the UAR; empty if nothing is finished.
        by_fold: For each fold the mean over its repeats of the UAR.
        confusion: int64 [4, 4], summed over folds and repeats.
        repeats: Number of repeats with all of their folds; 0 where only parts of repeats are finished.
        planned_repeats: Number of repeats that the plan has.
        finished: Number of finished trainings, those of incomplete repeats too.
        planned: Number of trainings that the plan has for it.
    """

    by_repeat: tuple[float, ...]
    by_fold: tuple[float, ...]
    confusion: NDArray[np.int64]
    repeats: int
    planned_repeats: int
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
        """Whether every planned training is finished."""
        return self.finished == self.planned


class Grid:
    """The finished trainings of a plan, ready to be summed up cell by cell."""

    def __init__(self, expected: Sequence[RunId], runs: Sequence[Run]) -> None:
        self._planned: defaultdict[tuple[str, str, str], Counter[int]] = defaultdict(Counter)
        for training in expected:
            self._planned[training.task, training.model, training.augmentation][training.repeat] += 1
        self._runs: defaultdict[tuple[str, str, str], list[Run]] = defaultdict(list)
        for run in runs:
            self._runs[run.id.task, run.id.model, run.id.augmentation].append(run)

    def summary(self, task: Task, model: str, augmentation: str, condition: str) -> Summary | None:
        """Sum up one cell; None if the plan has no training for it."""
        cell = (task, model, augmentation)
        if not (planned := self._planned[cell]):
            return None
        finished = [run for run in self._runs[cell] if condition in run.confusions]
        of_repeat = Counter(run.id.repeat for run in finished)
        complete = {repeat for repeat, folds in of_repeat.items() if folds == planned[repeat]}
        counting = [run for run in finished if run.id.repeat in complete] or finished
        by_repeat, by_fold = defaultdict(list), defaultdict(list)
        for run in sorted(counting, key=lambda run: (run.id.repeat, run.id.fold)):
            uar = uar_of(run.confusions[condition])
            by_repeat[run.id.repeat].append(uar)
            by_fold[run.id.fold].append(uar)
        return Summary(
            by_repeat=tuple(float(np.mean(uars)) for uars in by_repeat.values()),
            by_fold=tuple(float(np.mean(uars)) for uars in by_fold.values()),
            confusion=sum((run.confusions[condition] for run in counting), np.zeros((4, 4), np.int64)),
            repeats=len(complete),
            planned_repeats=len(planned),
            finished=len(finished),
            planned=planned.total(),
        )


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
