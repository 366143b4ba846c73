"""What a model said about a test set, and how good that is: confusion matrix, UAR, weighted accuracy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastser.data.corpora.base import PAPER_CLASSES


def uar_of(confusion: NDArray[np.int64]) -> float:
    """Unweighted average recall, a fraction: the mean recall of the classes that occur (rows are the truth)."""
    occurring = confusion.sum(axis=1) > 0
    return float(np.mean(confusion.diagonal()[occurring] / confusion.sum(axis=1)[occurring]))


def accuracy_of(confusion: NDArray[np.int64]) -> float:
    """Weighted accuracy, a fraction: correct utterances over all utterances."""
    return float(confusion.trace() / confusion.sum())


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """What one trained model said about one test set.

    Attributes:
        posteriors: float32 [utterances, 4], columns in the order of `PAPER_CLASSES`.
        labels: int64 [utterances], the truth.
        utterance_ids: Utterance ids, in the same order.
    """

    posteriors: NDArray[np.float32]
    labels: NDArray[np.int64]
    utterance_ids: list[str]

    @property
    def confusion(self) -> NDArray[np.int64]:
        """int64 [4, 4]: number of utterances by truth (row) and most probable emotion (column)."""
        counts = np.zeros((len(PAPER_CLASSES), len(PAPER_CLASSES)), np.int64)
        np.add.at(counts, (self.labels, self.posteriors.argmax(axis=1)), 1)
        return counts

    @property
    def uar(self) -> float:
        """Unweighted average recall, a fraction."""
        return uar_of(self.confusion)

    @property
    def accuracy(self) -> float:
        """Weighted accuracy, a fraction."""
        return accuracy_of(self.confusion)
