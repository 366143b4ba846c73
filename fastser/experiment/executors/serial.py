"""Run the trainings one after another in this process, sharing the work with other processes on the same folder."""

from collections.abc import Iterator, Sequence

from fastser.experiment.executors import Listener, Outcome
from fastser.experiment.executors.run_one import Runner
from fastser.experiment.grid import GridPoint
from fastser.training.checkpoint import TrainingStopped

_WAIT_SECONDS = 1.0


def run(job: Runner, cells: Sequence[GridPoint], listener: Listener) -> Iterator[Outcome]:
    """Run those trainings that are not finished, and yield an outcome for every one.

    A training that another process has claimed is left to it and looked at again later. One that fails is reported and
    does not stop the others. It ends early where the job is told to stop.

    Args:
        job: How each is run.
        cells: The plan.
        listener: Told about progress.
    """
    waiting = list(cells)
    while waiting:
        claimed_elsewhere = []
        for cell in waiting:
            try:
                outcome = job.run(cell, listener)
            except TrainingStopped:
                return
            if outcome is None:
                claimed_elsewhere.append(cell)
            else:
                yield outcome
        if len(claimed_elsewhere) == len(waiting):
            job.stop.wait(_WAIT_SECONDS)
        waiting = claimed_elsewhere
