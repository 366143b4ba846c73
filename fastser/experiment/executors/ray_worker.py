"""Ray actor: a process that keeps the data mapped and the compiled models warm between runs."""

import threading
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.worker_config import WorkerConfigError, read_worker_config
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.store import ResultsError
from fastser.runtime.device import DeviceError
from fastser.training.checkpoint import TrainingStopped
from fastser.training.state import Epoch


class Worker:
    """Ray actor that executes one run after another, and reports its progress when it is asked.

    Methods answer with a word and its value: "ready"; "unusable" and the reason why it can execute no run; "done" and
    the seconds; "failed" and the reason; "lost" and the reason if its GPU is lost; "elsewhere" if another process has
    the run; "stopped".

    Args:
        config: Path of a file from `WorkerConfig.write`.
    """

    def __init__(self, config: str) -> None:
        self._config = Path(config)
        self._runner: Runner | None = None
        self._stop = threading.Event()
        self._events: deque[tuple[str, Any]] = deque()

    def open(self) -> tuple[str, Any]:
        """Map the data."""
        try:
            self._runner = read_worker_config(self._config).runner(self._stop)
        except (WorkerConfigError, DeviceError, ResultsError) as error:
            return "unusable", str(error)
        return "ready", None

    def run(self, point: GridPoint, key: str) -> tuple[str, Any]:
        """Execute the run at a point of the grid. Its key must be the same here."""
        assert self._runner is not None
        if self._runner.experiment.identify(point).key != key:
            return "unusable", "a worker runs another version of fastser than this process; install the same everywhere"
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

    def events(self) -> list[tuple[str, Any]]:
        """Return the progress since the last call."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def stop(self) -> None:
        """Ask the running run to stop where it can be continued."""
        self._stop.set()

    def started(self, _run_id: RunId) -> None:
        """Implement `Listener`."""
        self._events.append(("started", None))

    def epoch(self, epoch: Epoch) -> None:
        """Implement `Listener`."""
        self._events.append(("epoch", asdict(epoch)))

    def condition(self, name: str) -> None:
        """Implement `Listener`."""
        self._events.append(("condition", name))
