"""Evidence: intervals of scores, and tests of their differences, over speakers and repeats.

A score of folds that test one speaker each is a mean over folds, so its units are folds. Where a single fold tests many
speakers, as across corpora, the score is a UAR of all utterances, and its units are the speakers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fastser.evaluation.metrics import uar_of
from fastser.evaluation.statistics import Counts, Difference, Interval, difference_of, interval_of
from fastser.evaluation.statistics.recall import independent_variance
from fastser.experiment.stored_runs import Run
from fastser.training.yardsticks import CONSTANT_ANSWER

Array = NDArray[np.float64]


def units_of(runs: Sequence[Run], condition: str) -> tuple[Array, Array] | None:
    """Return correct and tested utterances by repeat and unit, [repeats, units, groups], as `Counts` takes them.

    Args:
        runs: Runs of one cell.
        condition: Name of the condition.

    Returns:
        None if a repeat lacks a fold that another one has, and for the yardstick `CONSTANT_ANSWER`.
    """
    repeats = sorted({run.id.point.repeat for run in runs})
    folds = sorted({run.id.point.fold for run in runs})
    by_place = {(run.id.point.repeat, run.id.point.fold): run for run in runs}
    if not runs or len(by_place) < len(repeats) * len(folds) or runs[0].id.point.model == CONSTANT_ANSWER:
        return None
    if len(folds) > 1:
        uar = [[[uar_of(by_place[repeat, fold].confusions[condition])] for fold in folds] for repeat in repeats]
        return np.array(uar), np.ones((len(repeats), len(folds), 1))
    matrices = [by_place[repeat, folds[0]].by_speaker[condition] for repeat in repeats]
    speakers = sorted({speaker for of_repeat in matrices for speaker in of_repeat})
    counts = np.array([_stacked(of_repeat, speakers) for of_repeat in matrices], float)
    return counts.diagonal(axis1=2, axis2=3).copy(), counts.sum(axis=3)


def _stacked(by_speaker: Mapping[str, NDArray[np.int64]], speakers: Sequence[str]) -> list[NDArray[np.int64]]:
    empty = np.zeros_like(next(iter(by_speaker.values())))
    return [by_speaker.get(speaker, empty) for speaker in speakers]


def interval_of_cell(units: tuple[Array, Array], confusion: NDArray[np.int64], level: float = 0.95) -> Interval:
    """Return the interval of a cell.

    Args:
        units: As `units_of` returns them.
        confusion: Confusion matrix, summed over folds and repeats.
        level: Level of confidence.
    """
    correct, tested = (part[None] for part in units)
    return interval_of(Counts(correct, tested, _least_variance([confusion], len(units[0]))), level=level)


def difference_of_cells(
    low: tuple[Array, Array],
    high: tuple[Array, Array],
    confusions: tuple[NDArray[np.int64] | Array, NDArray[np.int64] | Array],
    level: float = 0.95,
) -> Difference | None:
    """Return the second cell minus the first, paired by unit, or None if they did not test the same utterances.

    Args:
        low: Units of the first cell.
        high: Units of the second cell.
        confusions: Their confusion matrices, summed over folds and repeats.
        level: Level of confidence.
    """
    if low[1].shape != high[1].shape or (low[1] != high[1]).any():
        return None
    correct, tested = (np.stack(pair) for pair in zip(low, high, strict=True))
    return difference_of(Counts(correct, tested, _least_variance(confusions, len(low[0]))), level=level)


def _least_variance(confusions: Sequence[NDArray[np.int64] | Array], repeats: int) -> float:
    """Return the variance that a UAR, or a difference of two, would have if utterances were independent."""
    correct = np.array([matrix.diagonal() / repeats for matrix in confusions])
    tested = np.array([matrix.sum(axis=1) / repeats for matrix in confusions])
    return independent_variance(correct[:, None, None], tested[:, None, None])
