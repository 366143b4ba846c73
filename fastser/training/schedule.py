"""Schedules: learning rate of each epoch, end of the training, and the epoch whose weights are kept."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fastser.settings import TrainingSettings


@dataclass(frozen=True)
class Epoch:
    """A finished epoch.

    Attributes:
        number: 1, 2, ...
        loss: Mean training loss.
        score: Monitored validation score, a fraction.
        learning_rate: Learning rate of the epoch.
        improved: Whether the score is the best so far.
    """

    number: int
    loss: float
    score: float
    learning_rate: float
    improved: bool


class Schedule(Protocol):
    """Rule of a training."""

    def end_epoch(self, score: float, /) -> None:
        """Set the learning rate of the next epoch.

        Args:
            score: Validation score of the epoch that has ended.
        """
        ...

    def kept_epoch(self, epochs: Sequence[Epoch]) -> int:
        """Return the number of the finished epoch whose weights are kept, or 0 before the first one."""
        ...

    def over(self, epochs: Sequence[Epoch]) -> bool:
        """Return whether the training ends after these epochs."""
        ...


class Plateau:
    """Schedule by the validation score: the paper's (4.4).

    The learning rate is halved after `halve_after` epochs without a new best score, and the training ends after
    `stop_after` such epochs. The first epoch with the best score is kept.

    Args:
        optimizer: Optimiser, whose learning rate is set.
        options: Training settings.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, options: TrainingSettings) -> None:
        self._options = options
        self._rate = ReduceLROnPlateau(
            optimizer, mode="max", factor=0.5, patience=options.halve_after - 1, threshold=0.0
        )

    def end_epoch(self, score: float, /) -> None:
        """Implement `Schedule`."""
        self._rate.step(score)

    def kept_epoch(self, epochs: Sequence[Epoch]) -> int:
        """Implement `Schedule`."""
        return next((epoch.number for epoch in reversed(epochs) if epoch.improved), 0)

    def over(self, epochs: Sequence[Epoch]) -> bool:
        """Implement `Schedule`."""
        done = len(epochs)
        return done >= self._options.max_epochs or done - self.kept_epoch(epochs) >= self._options.stop_after


class Cosine:
    """Schedule without validation: the last of `max_epochs` epochs is kept.

    The learning rate falls from epoch to epoch along half a cosine, to zero after the last one (Loshchilov and Hutter
    2017, without restarts).

    Args:
        optimizer: Optimiser, whose learning rate is set.
        options: Training settings.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, options: TrainingSettings) -> None:
        self._optimizer = optimizer
        self._options = options
        self._done = 0

    def end_epoch(self, _score: float, /) -> None:
        """Implement `Schedule`."""
        self._done += 1
        share = self._done / self._options.max_epochs
        self._optimizer.param_groups[0]["lr"] = self._options.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def kept_epoch(self, epochs: Sequence[Epoch]) -> int:
        """Implement `Schedule`."""
        return len(epochs)

    def over(self, epochs: Sequence[Epoch]) -> bool:
        """Implement `Schedule`."""
        return len(epochs) >= self._options.max_epochs


SCHEDULES: Mapping[str, Callable[[torch.optim.Optimizer, TrainingSettings], Schedule]] = {
    "plateau": Plateau,
    "cosine": Cosine,
}
"""Schedules by the value of `training.schedule`."""
