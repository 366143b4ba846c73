"""Serial executor: one run after another in this process, shared with other processes on the same results folder."""

from collections.abc import Iterator, Sequence

import torch

from fastser.experiment.executors.executor import Placement, Work
from fastser.experiment.executors.outcomes import Listener, Outcome
from fastser.experiment.executors.runner import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.options import RunOptions
from fastser.runtime.device import named_device
from fastser.training.checkpoint import TrainingStopped

_WAIT_SECONDS = 1.0


class SerialExecutor:
    """Executor of one run after another in this process."""

    name = "serial"
    in_this_process = True
    stop_message = "saving the running run, so that it can be continued; press again to end at once"

    def check(self, options: RunOptions) -> None:
        """Accept any options."""

    def device(self, options: RunOptions) -> torch.device:
        """Return the device that `--device` names."""
        return named_device(options.device)

    def placement(self, options: RunOptions, experiment: Experiment, todo: Sequence[RunId]) -> Placement:  # noqa: ARG002
        """Return one run at a time, with the threads of this process."""
        return Placement(1, torch.get_num_threads())

    def run(self, work: Work) -> Iterator[Outcome]:
        """Run every run of the plan."""
        return run_serially(work.runner, [run_id.point for run_id in work.runs], work.lane())


def run_serially(runner: Runner, points: Sequence[GridPoint], listener: Listener) -> Iterator[Outcome]:
    """Run the runs that are not finished, and yield an outcome for every run.

    A run that another process has claimed is left to that process and looked at again later. A run that fails does not
    stop the others. The function returns early when the runner is asked to stop.
    """
    waiting = list(points)
    while waiting:
        claimed_elsewhere = []
        for point in waiting:
            try:
                outcome = runner.run(point, listener)
            except TrainingStopped:
                return
            if outcome is None:
                claimed_elsewhere.append(point)
            else:
                yield outcome
        if len(claimed_elsewhere) == len(waiting):
            runner.stop.wait(_WAIT_SECONDS)
        waiting = claimed_elsewhere
