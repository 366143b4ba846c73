"""Reports of executors: progress of runs, and their outcomes."""

from dataclasses import dataclass
from typing import Protocol

from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.grid import RunId
from fastser.runtime.errors import UserError
from fastser.training.schedule import Epoch


class ExecutorError(UserError, RuntimeError):
    """An executor that cannot run anything. The message is one sentence."""


class Listener(Protocol):
    """Receiver of the progress of one run after another."""

    def started(self, run_id: RunId) -> None:
        """Take note that a run begins."""

    def epoch(self, epoch: Epoch) -> None:
        """Take note that an epoch of the run is finished."""

    def condition(self, name: str) -> None:
        """Take note that a test of the run begins."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one run.

    Attributes:
        run_id: The run.
        seconds: Wall time of this process for it. None if it was finished or had failed before.
        results: Predictions by condition. Empty if it failed or was finished before.
        failure: Reason of the failure in one sentence, or None.
    """

    run_id: RunId
    seconds: float | None
    results: dict[str, ConditionResult]
    failure: str | None = None
