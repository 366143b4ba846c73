"""Who runs the trainings: each executor takes a plan and a `Listener`, and yields an `Outcome` for every training."""

from dataclasses import dataclass, fields
from typing import Protocol

from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import RunId
from fastser.training.loop import Epoch


class ExecutorError(RuntimeError):
    """An executor that cannot run anything, in one sentence."""


class Listener(Protocol):
    """Who wants to know how far the run is."""

    def started(self, training: RunId) -> None:
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
        seconds: Wall time that this process spent on it; None if it was finished, or had failed, already.
        results: By condition; empty if it failed or was finished already.
        failure: Why it failed, in one sentence, or None.
    """

    training: RunId
    seconds: float | None
    results: dict[str, ConditionResult]
    failure: str | None = None


def cell_of(training: RunId) -> GridPoint:
    """The cell of the grid without data and settings, which is what is identified, seeded and run."""
    return GridPoint(**{field.name: getattr(training, field.name) for field in fields(GridPoint)})
