"""Work of one Slurm job: some runs one after another, stopped and queued again when the job's time is up."""

import threading
import time
from pathlib import Path

from submitit.helpers import Checkpointable, DelayedSubmission

from fastser.experiment.executors.serial import run_serially
from fastser.experiment.executors.worker_config import WorkerConfigError, read_worker_config
from fastser.experiment.grid import GridPoint, RunId
from fastser.training.schedule import Epoch

_POLL_SECONDS = 0.2


class Chunk(Checkpointable):
    """Some runs of one job, executed in a thread, so that the main thread is free to take Slurm's signal.

    Args:
        config: Path of a file from `WorkerConfig.write`.
        points: Points of the grid.
        keys: Keys of the runs, which must be the same on the node.
    """

    def __init__(self, config: str, points: list[GridPoint], keys: list[str]) -> None:
        self.config, self.points, self.keys = config, points, keys

    def __call__(self) -> None:
        """Execute the runs that are not finished.

        Raises:
            WorkerConfigError: If the data are not there, or the node has another version of fastser.
        """
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()
        if self._error is not None:
            raise self._error

    def checkpoint(self) -> DelayedSubmission:
        """Stop where the run can be continued. Called on the main thread when Slurm wants the node back."""
        self._stop.set()
        self._wait()
        return DelayedSubmission(Chunk(self.config, self.points, self.keys))

    def _wait(self) -> None:
        while self._thread.is_alive():
            time.sleep(_POLL_SECONDS)

    def _run(self) -> None:
        try:
            runner = read_worker_config(Path(self.config)).runner(self._stop)
            if [runner.experiment.identify(point).key for point in self.points] != self.keys:
                raise WorkerConfigError("this node has another version of fastser than the one that submitted the job")
            for outcome in run_serially(runner, self.points, _Log()):
                how = outcome.failure or ("finished" if outcome.seconds is None else f"{outcome.seconds:.0f} s")
                print(f"{outcome.run_id.point.label}: {how}", flush=True)
        except BaseException as error:
            self._error = error


class _Log:
    """Listener that writes to the log of the job."""

    def started(self, run_id: RunId) -> None:
        print(f"{run_id.point.label}: begins", flush=True)

    def epoch(self, epoch: Epoch) -> None:
        print(f"  epoch {epoch.number}: loss {epoch.loss:.3f}, validation {100 * epoch.score:.1f} %", flush=True)

    def condition(self, name: str) -> None:
        print(f"  test {name}", flush=True)
