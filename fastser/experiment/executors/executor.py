"""Executors: their work, and what every one of them must provide."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from fastser.experiment.executors.outcomes import Listener, Outcome
from fastser.experiment.executors.runner import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId
from fastser.experiment.options import RunOptions


@dataclass(frozen=True)
class Work:
    """Everything that an executor gets.

    Attributes:
        runner: Data, settings and results folder. It runs one run in this process.
        runs: All runs of the plan, in the order in which they are to be begun.
        options: Options of the command line.
        lane: Returns a listener for another worker.
        at_a_time: Number of runs that this machine executes at a time, from `Executor.placement`.
    """

    runner: Runner
    runs: Sequence[RunId]
    options: RunOptions
    lane: Callable[[], Listener]
    at_a_time: int = 1

    @property
    def stop(self) -> threading.Event:
        """Event that asks to begin nothing more and to stop running runs where they can be continued."""
        return self.runner.stop


@dataclass(frozen=True)
class Placement:
    """Runs on this machine.

    Attributes:
        at_a_time: Number of runs that are executed at a time.
        threads: Threads of one run on a CPU.
        notes: Sentences for the plan.
    """

    at_a_time: int
    threads: int
    notes: tuple[str, ...] = ()


class Executor(Protocol):
    """A way to execute runs.

    Attributes:
        name: Name on the command line.
        in_this_process: Whether runs are executed in this process, which then holds the data on the device.
        stop_message: Sentence that is printed at the first Ctrl-C.
    """

    name: str
    in_this_process: bool
    stop_message: str

    def check(self, options: RunOptions) -> None:
        """Check, before any corpus is read, that runs can be executed with these options.

        Raises:
            ExecutorError: If not.
        """

    def device(self, options: RunOptions) -> torch.device:
        """Return the device of the models: here, or on the workers.

        Raises:
            DeviceError: If `--device` names no device, or a device that is not there.
        """

    def placement(self, options: RunOptions, experiment: Experiment, todo: Sequence[RunId]) -> Placement:
        """Return how many runs this machine executes at a time, and with how many threads.

        Args:
            options: Options of the command line.
            experiment: Settings and device.
            todo: Runs that are not finished.
        """

    def run(self, work: Work) -> Iterator[Outcome]:
        """Run the runs that are not finished, and yield an outcome for every run.

        Raises:
            ExecutorError: If no run can be executed.
        """
