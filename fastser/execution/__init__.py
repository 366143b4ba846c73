"""Who runs the trainings: each executor takes a plan and a `Listener`, and yields an `Outcome` for every training."""

from dataclasses import dataclass
from typing import Protocol

from fastser.metrics import ConditionResult
from fastser.results import TrainingId
from fastser.training import Epoch


class Listener(Protocol):
    """Who wants to know how far the run is."""

    def started(self, training: TrainingId) -> None:
        """A training begins."""

    def epoch(self, epoch: Epoch) -> None:
        """One of its epochs is done."""

    def condition(self, name: str) -> None:
        """A test of it begins."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one training.

    Attributes:
        training: Which one.
        seconds: Wall time that this process spent on it; None if it was finished already.
        results: By condition; empty if it failed or was finished already.
        failure: Why it failed, in one sentence, or None.
    """

    training: TrainingId
    seconds: float | None
    results: dict[str, ConditionResult]
    failure: str | None = None
