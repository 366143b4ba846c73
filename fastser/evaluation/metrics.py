"""Predictions for a test set, and metrics of them: confusion matrix, UAR, accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastser.runtime.registry import Registry


def uar_of(confusion: NDArray[np.int64]) -> float:
    """Return the unweighted average recall, a fraction.

    It is the mean recall of the classes that occur.

    Args:
        confusion: Number of utterances by truth (row) and prediction (column), int64 [classes, classes].
    """
    occurring = confusion.sum(axis=1) > 0
    return float(np.mean(confusion.diagonal()[occurring] / confusion.sum(axis=1)[occurring]))


def accuracy_of(confusion: NDArray[np.int64]) -> float:
    """Return the share of correct utterances (weighted accuracy), a fraction. See `uar_of`."""
    return float(confusion.trace() / confusion.sum())


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """Predictions of one trained model for one test set under one condition.

    Attributes:
        posteriors: float32 [utterances, classes], columns in the order of the corpus' classes.
        labels: True labels, int64 [utterances].
        utterance_ids: Utterance ids, in the same order.
        speakers: Speakers of the utterances, in the same order.
    """

    posteriors: NDArray[np.float32]
    labels: NDArray[np.int64]
    utterance_ids: list[str]
    speakers: list[str]

    @classmethod
    def joined(cls, results: Sequence["ConditionResult"]) -> "ConditionResult":
        """Return the predictions for several test sets, also of several models, as those for one."""
        return cls(
            np.concatenate([result.posteriors for result in results]),
            np.concatenate([result.labels for result in results]),
            [name for result in results for name in result.utterance_ids],
            [name for result in results for name in result.speakers],
        )

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Number of utterances by truth (row) and most probable class (column), int64 [classes, classes]."""
        return sum(self.by_speaker.values(), np.zeros((self.posteriors.shape[1],) * 2, np.int64))

    @property
    def by_speaker(self) -> dict[str, NDArray[np.int64]]:
        """Confusion matrix of each speaker, in the order of their names."""
        names, codes = np.unique(np.array(self.speakers, dtype=np.str_), return_inverse=True)
        counts = np.zeros((len(names), *(self.posteriors.shape[1],) * 2), np.int64)
        np.add.at(counts, (codes, self.labels, self.posteriors.argmax(axis=1)), 1)
        return dict(zip(names.tolist(), counts, strict=True))

    @property
    def uar(self) -> float:
        """Unweighted average recall, a fraction."""
        return uar_of(self.confusion)

    @property
    def accuracy(self) -> float:
        """Weighted accuracy, a fraction."""
        return accuracy_of(self.confusion)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that tells how good predictions are.

    Attributes:
        name: Name in results and CSV files, "uar".
        title: Title in tables, "UAR".
        of: Computes it, a fraction.
    """

    name: str
    title: str
    of: Callable[[ConditionResult], float]


METRICS = Registry(
    "metric",
    [
        Metric("uar", "UAR", lambda result: result.uar),
        Metric("accuracy", "accuracy", lambda result: result.accuracy),
    ],
)
"""The metrics of every run and condition. The first one is the paper's."""
