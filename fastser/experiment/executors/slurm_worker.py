"""What one Slurm job does: some trainings one after another, stopped and queued again when its time is up."""

import threading
import time
from pathlib import Path

from submitit.helpers import Checkpointable, DelayedSubmission

from fastser.experiment.executors import serial
from fastser.experiment.executors.worker_config import WorkerConfigError, read_worker_config
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import RunId
from fastser.training.loop import Epoch

_POLL_SECONDS = 0.2


class Chunk(Checkpointable):
    """Runs trainings in a thread of its own, so that the main thread is free to take Slurm's signal.

    Args:
        spec: Path of what `WorkerConfig.write` wrote.
        cells: The trainings.
        keys: Their keys, which must be the same here.
    """

    def __init__(self, spec: str, cells: list[GridPoint], keys: list[str]) -> None:
        self.spec, self.cells, self.keys = spec, cells, keys

    def __call__(self) -> None:
        """Run what is not finished.

        Raises:
            WorkerConfigError: If the data are not there, or this node has another version of fastser.
        """
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()
        if self._error is not None:
            raise self._error

    def checkpoint(self) -> DelayedSubmission:
        """Stop where the training can go on; called on the main thread when Slurm wants the node back."""
        self._stop.set()
        self._wait()
        return DelayedSubmission(Chunk(self.spec, self.cells, self.keys))

    def _wait(self) -> None:
        while self._thread.is_alive():
            time.sleep(_POLL_SECONDS)

    def _run(self) -> None:
        try:
            job = read_worker_config(Path(self.spec)).job(self._stop)
            if [job.experiment.identify(cell).key for cell in self.cells] != self.keys:
                raise WorkerConfigError("this node has another version of fastser than the one that submitted the job")
            for outcome in serial.run(job, self.cells, _Log()):
                how = outcome.failure or ("finished" if outcome.seconds is None else f"{outcome.seconds:.0f} s")
                print(f"{outcome.training.label}: {how}", flush=True)
        except BaseException as error:
            self._error = error


class _Log:
    """A listener that writes into the job's log."""

    def started(self, training: RunId) -> None:
        print(f"{training.label}: begins", flush=True)

    def epoch(self, epoch: Epoch) -> None:
        print(f"  epoch {epoch.number}: loss {epoch.loss:.3f}, validation {100 * epoch.score:.1f} %", flush=True)

    def condition(self, name: str) -> None:
        print(f"  test {name}", flush=True)
