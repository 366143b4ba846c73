"""Samples: predictions of one system under one condition, and their counts by speaker."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastser.evaluation.metrics import ConditionResult

NOT_TESTED = -1
"""Prediction of an utterance that a repeat did not test."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Predictions of one system under one condition.

    Attributes:
        labels: True classes, int64 [utterances].
        predicted: Predicted classes, int64 [repeats, utterances], or `NOT_TESTED`. A repeat is one training.
        speakers: Code of each utterance's speaker, int64 [utterances].
        num_classes: Number of classes.

    Raises:
        ValueError: If the arrays do not belong together, or a repeat tested nothing.

    Example:
        >>> import numpy as np
        >>> labels, speakers = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
        >>> Sample(labels, np.array([[0, 1, 1, 1]]), speakers, num_classes=2).num_speakers
        2
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    speakers: NDArray[np.int64]
    num_classes: int
    num_speakers: int = field(init=False)
    _codes: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.predicted.ndim != 2 or not len(self.labels) == len(self.speakers) == self.predicted.shape[1]:
            shapes = self.labels.shape, self.predicted.shape, self.speakers.shape
            raise ValueError(
                "a sample needs labels [utterances], predictions [repeats, utterances] and speakers [utterances], "
                f"got {shapes[0]}, {shapes[1]} and {shapes[2]}"
            )
        for name, values, least in (("labels", self.labels, 0), ("predicted", self.predicted, NOT_TESTED)):
            if values.size and not least <= values.min() <= values.max() < self.num_classes:
                raise ValueError(
                    f"{name} of a sample are from {values.min()} to {values.max()}, expected {least} to "
                    f"{self.num_classes - 1} for {self.num_classes} classes"
                )
        if not (self.predicted != NOT_TESTED).any(axis=1).all() or not len(self.predicted):
            raise ValueError("a sample needs at least one tested utterance in each repeat")
        speakers, codes = np.unique(self.speakers, return_inverse=True)
        object.__setattr__(self, "num_speakers", len(speakers))
        object.__setattr__(self, "_codes", codes)

    @classmethod
    def of_result(cls, result: ConditionResult) -> "Sample":
        """Return the sample of one training: the most probable class of each utterance."""
        speakers = np.unique(np.array(result.speakers, dtype=np.str_), return_inverse=True)[1]
        return cls(result.labels, result.posteriors.argmax(axis=1)[None], speakers, result.posteriors.shape[1])

    @property
    def repeats(self) -> int:
        """Number of repeats."""
        return len(self.predicted)

    def counts(self, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the numbers of correct and of tested utterances by group.

        The groups of "uar" are the classes that occur, and "accuracy" has a single group.

        Args:
            metric: "uar" or "accuracy".

        Returns:
            Two arrays, float64 [repeats, units, groups]. A unit is a speaker, or an utterance if there is one speaker.
        """
        units = self._codes if self.num_speakers > 1 else np.arange(len(self.labels))
        groups = np.unique(self.labels, return_inverse=True)[1] if metric == "uar" else np.zeros_like(self.labels)
        shape = self.repeats, int(units.max()) + 1, int(groups.max()) + 1
        correct, tested = np.zeros(shape), np.zeros(shape)
        for repeat, predicted in enumerate(self.predicted):
            np.add.at(tested[repeat], (units, groups), predicted != NOT_TESTED)
            np.add.at(correct[repeat], (units, groups), predicted == self.labels)
        return correct, tested
