"""Worker of a pool: executes one run after another, in a process that keeps data mapped and compiled models warm."""

import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastser.experiment.executors.failures import in_one_sentence
from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.worker_config import WorkerConfigError, read_worker_config
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.results_folder import ResultsError
from fastser.runtime.device import DeviceError
from fastser.runtime.registry import UnknownNameError
from fastser.training.checkpoint import TrainingStopped
from fastser.training.schedule import Epoch

_WHERE_TO_REGISTER = (
    "a worker knows what fastser's own modules register and the models of --model; --executor serial knows all that "
    "this program registers"
)

_FEWER_WORKERS = "--jobs with a smaller number needs less memory, and --executor serial needs no worker"


class Worker:
    """Execution of runs for a pool in another process.

    Methods answer with a word and its value: "ready"; "unusable" and the reason why it can execute no run; "done" and
    the seconds; "failed" and the reason; "lost" and the reason if its GPU is lost; "elsewhere" if another process has
    the run; "stopped".

    Args:
        config: Path of a file from `WorkerConfig.write`.
        report: Takes the progress of the running run: "started"; "epoch" and its values; "condition" and its name.
    """

    def __init__(self, config: str, report: Callable[[str, Any], None]) -> None:
        self._config = Path(config)
        self._report = report
        self._runner: Runner | None = None
        self._stop = threading.Event()

    def open(self) -> tuple[str, Any]:
        """Map the data, or copy them to the GPU."""
        try:
            self._runner = read_worker_config(self._config).runner(self._stop)
        except (WorkerConfigError, DeviceError, ResultsError) as error:
            return "unusable", str(error)
        except Exception as error:  # the driver must not take it for the death of a node
            return "unusable", f"a worker cannot open its data: {in_one_sentence(error)}; {_FEWER_WORKERS}"
        return "ready", None

    def run(self, point: GridPoint, key: str) -> tuple[str, Any]:
        """Execute the run at a point of the grid. Its key must be the same here."""
        assert self._runner is not None
        try:
            here = self._runner.experiment.identify(point).key
        except UnknownNameError as error:
            return "unusable", f"{error}; {_WHERE_TO_REGISTER}"
        if here != key:
            return "unusable", (
                "a worker has another version of fastser than this process, or other registered conditions; "
                f"{_WHERE_TO_REGISTER}"
            )
        try:
            outcome = self._runner.run(point, self)
        except TrainingStopped:
            return "stopped", None
        except ResultsError as error:
            return "unusable", str(error)
        except DeviceError as error:
            return "lost", str(error)
        if outcome is None:
            return "elsewhere", None
        if outcome.failure is not None:
            return "failed", outcome.failure
        return "done", outcome.seconds

    def stop(self) -> None:
        """Ask the running run to stop where it can be continued."""
        self._stop.set()

    def started(self, _run_id: RunId) -> None:
        """Implement `Listener`."""
        self._report("started", None)

    def epoch(self, epoch: Epoch) -> None:
        """Implement `Listener`."""
        self._report("epoch", asdict(epoch))

    def condition(self, name: str) -> None:
        """Implement `Listener`."""
        self._report("condition", name)
