"""Ray actor: a worker whose progress is asked for."""

from collections import deque
from typing import Any

from fastser.experiment.executors.worker import Worker


class Actor(Worker):
    """Ray actor that executes one run after another, and reports its progress when it is asked.

    Args:
        config: Path of a file from `WorkerConfig.write`.
    """

    def __init__(self, config: str) -> None:
        self._events: deque[tuple[str, Any]] = deque()
        super().__init__(config, lambda kind, value: self._events.append((kind, value)))

    def events(self) -> list[tuple[str, Any]]:
        """Return the progress since the last call."""
        return [self._events.popleft() for _ in range(len(self._events))]
