"""Aggregation of runs: mean over folds, then mean and standard deviation over repeats.

Folds differ much more than repeats, because some speakers are harder than others. So a repeat counts only when all of
its folds are finished. As long as there is no such repeat, the unfinished repeats stand in for it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastser.evaluation.metrics import METRICS, accuracy_of, uar_of
from fastser.evaluation.statistics import Difference, Interval
from fastser.experiment.grid import RunId
from fastser.experiment.stored_runs import Run
from fastser.report.evidence import difference_of_cells, interval_of_cell, units_of


@dataclass(frozen=True)
class Score:
    """Scores of one model under one condition, over the folds and repeats that count. Fractions.

    Attributes:
        by_repeat: Mean UAR over the folds, for each repeat. Empty if nothing is finished.
        by_fold: Mean UAR over the repeats, for each fold.
        confusion: Confusion matrix, summed over folds and repeats, int64 [classes, classes].
        metrics: Every registered metric by name: mean over the folds, for each repeat.
        repeats: Number of repeats with all of their folds. 0 where only parts of repeats are finished.
        planned_repeats: Number of repeats in the plan.
        finished: Number of finished runs, including those of incomplete repeats.
        planned: Number of runs in the plan.
        units: Counts by repeat and speaker (`fastser.report.evidence`), or None where a repeat lacks a fold
            and for the yardstick whose answer is constant.
        numbers: Numbers of the repeats that count.
    """

    by_repeat: tuple[float, ...]
    by_fold: tuple[float, ...]
    confusion: NDArray[np.int64]
    metrics: dict[str, tuple[float, ...]]
    repeats: int
    planned_repeats: int
    finished: int
    planned: int
    units: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    numbers: tuple[int, ...] = ()

    @cached_property
    def interval(self) -> Interval | None:
        """95 % interval of the mean UAR for new speakers and new trainings, or None for one speaker or a constant."""
        if self.units is None or self.units[0].shape[1] < 2:
            return None
        return interval_of_cell(self.units, self.confusion)

    @property
    def mean(self) -> float:
        """Mean UAR over the repeats."""
        return float(np.mean(self.by_repeat))

    @property
    def std(self) -> float | None:
        """Standard deviation over the repeats (n - 1), or None for a single repeat."""
        return std_of(self.by_repeat)

    @property
    def fold_std(self) -> float | None:
        """Standard deviation over the folds (n - 1), or None for a single fold."""
        return std_of(self.by_fold)

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
        """Whether every planned run is finished."""
        return self.finished == self.planned


def difference_of_scores(low: Score, high: Score) -> Difference | None:
    """Return the second score minus the first, paired by speaker and repeat, with a 95 % interval.

    Only repeats that both scores have are compared.

    Returns:
        None for a single speaker, about whom nothing general can be said, for cells that lack a fold or have no repeat
        in common, and if the two did not test the same utterances.
    """
    common = [number for number in low.numbers if number in high.numbers]
    if low.units is None or high.units is None or low.units[0].shape[1] < 2 or not common:
        return None
    units, confusions = [], []
    for score, (correct, tested) in ((low, low.units), (high, high.units)):
        places = [score.numbers.index(number) for number in common]
        units.append((correct[places], tested[places]))
        confusions.append(score.confusion.astype(float) * len(common) / len(score.numbers))
    return difference_of_cells(units[0], units[1], (confusions[0], confusions[1]))


class Scores:
    """Finished runs of a plan, summed up cell by cell."""

    def __init__(self, expected: Sequence[RunId], runs: Sequence[Run]) -> None:
        self._planned: defaultdict[tuple[str, str, str], Counter[int]] = defaultdict(Counter)
        for run_id in expected:
            point = run_id.point
            self._planned[point.task, point.model, point.augmentation][point.repeat] += 1
        self._runs: defaultdict[tuple[str, str, str], list[Run]] = defaultdict(list)
        for run in runs:
            point = run.id.point
            self._runs[point.task, point.model, point.augmentation].append(run)

    def score(self, task: str, model: str, augmentation: str, condition: str) -> Score | None:
        """Sum up one cell. Return None if the plan has no run for it."""
        cell = (task, model, augmentation)
        if not (planned := self._planned[cell]):
            return None
        finished = [run for run in self._runs[cell] if condition in run.confusions]
        of_repeat = Counter(run.id.point.repeat for run in finished)
        complete = {repeat for repeat, folds in of_repeat.items() if folds == planned[repeat]}
        counting = [run for run in finished if run.id.point.repeat in complete] or finished
        counting.sort(key=lambda run: (run.id.point.repeat, run.id.point.fold))
        by_repeat, by_fold = defaultdict(list), defaultdict(list)
        for run in counting:
            uar = uar_of(run.confusions[condition])
            by_repeat[run.id.point.repeat].append(uar)
            by_fold[run.id.point.fold].append(uar)
        return Score(
            by_repeat=_means(by_repeat),
            by_fold=_means(by_fold),
            confusion=np.sum([run.confusions[condition] for run in counting], axis=0, dtype=np.int64),
            metrics={name: _by_repeat(counting, condition, name) for name in METRICS},
            repeats=len(complete),
            planned_repeats=len(planned),
            finished=len(finished),
            planned=planned.total(),
            units=units_of(counting, condition),
            numbers=tuple(by_repeat),
        )


def std_of(values: Sequence[float]) -> float | None:
    """Return the standard deviation (n - 1), or None for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _by_repeat(runs: Sequence[Run], condition: str, metric: str) -> tuple[float, ...]:
    values = defaultdict(list)
    for run in runs:
        values[run.id.point.repeat].append(run.metrics[condition][metric])
    return _means(values)


def _means(values: dict[int, list[float]] | dict[str, list[float]]) -> tuple[float, ...]:
    return tuple(float(np.mean(of_one)) for of_one in values.values())
