"""The Ray actor: a process of its own that keeps the data mapped and the compiled models warm between trainings."""

import threading
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastser.experiment.executors.run_one import Runner
from fastser.experiment.executors.worker_config import WorkerConfigError, read_worker_config
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultsError, RunId
from fastser.runtime.device import DeviceError
from fastser.training.checkpoint import TrainingStopped
from fastser.training.loop import Epoch


class Worker:
    """Runs one training after the other; is asked meanwhile how far it is.

    It answers with how something went and what belongs to that: "ready"; "unusable" and why it can run nothing; "done"
    and the seconds; "failed" and the reason; "lost" and the reason if its GPU is lost with the training; "elsewhere" if
    another process has the training; "stopped".

    Args:
        spec: Path of what `WorkerConfig.write` wrote.
    """

    def __init__(self, spec: str) -> None:
        self._spec = Path(spec)
        self._job: Runner | None = None
        self._stop = threading.Event()
        self._events: deque[tuple[str, Any]] = deque()

    def open(self) -> tuple[str, Any]:
        """Map the data."""
        try:
            self._job = read_worker_config(self._spec).job(self._stop)
        except (WorkerConfigError, DeviceError, ResultsError) as error:
            return "unusable", str(error)
        return "ready", None

    def run(self, cell: GridPoint, key: str) -> tuple[str, Any]:
        """Run the training of a cell, which must have this key here too."""
        assert self._job is not None
        if self._job.experiment.identify(cell).key != key:
            return "unusable", "a worker runs another version of fastser than this process; install the same everywhere"
        try:
            outcome = self._job.run(cell, self)
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

    def events(self) -> list[tuple[str, Any]]:
        """What has happened since the last call."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def stop(self) -> None:
        """Let the running training stop where it can go on."""
        self._stop.set()

    def started(self, _training: RunId) -> None:
        """As in `Listener`."""
        self._events.append(("started", None))

    def epoch(self, epoch: Epoch) -> None:
        """As in `Listener`."""
        self._events.append(("epoch", asdict(epoch)))

    def condition(self, name: str) -> None:
        """As in `Listener`."""
        self._events.append(("condition", name))
