"""Pool of workers: gives runs to idle workers, starts workers, collects outcomes, replaces workers that die."""

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from fastser.experiment.executors.executor import Work
from fastser.experiment.executors.outcomes import ExecutorError, Listener, Outcome
from fastser.experiment.grid import RunId
from fastser.runtime.provenance import environment
from fastser.training.schedule import Epoch

log = logging.getLogger(__name__)

MAX_DEATHS = 3
"""Number of workers that may die during one run before it counts as failed.

The grid ends when as many workers in a row die at their start.
"""

_POLL_SECONDS = 0.2
_CLAIMED_ELSEWHERE_SECONDS = 1.0
_VISIBLE_AFTER_SECONDS = 60.0


class WorkerHandle(Protocol):
    """A worker, seen from this process."""

    def begin(self, run_id: RunId) -> None:
        """Give a run to the worker."""

    def stop(self) -> None:
        """Ask the running run to stop where it can be continued."""

    def kill(self) -> None:
        """End the worker at once, if it still lives."""


class Message(NamedTuple):
    """Progress or an answer of a worker, as `Worker` names them, or "died" and the reason."""

    worker: WorkerHandle
    kind: str
    value: Any


class Workers(Protocol):
    """The workers of one executor.

    Attributes:
        stop_seconds: Time that running runs get to write a checkpoint when the pool is asked to stop.
    """

    stop_seconds: float

    def room(self) -> int:
        """Return the number of workers that may exist now.

        Raises:
            ExecutorError: If there can be none.
        """

    def start(self) -> WorkerHandle:
        """Start a worker, which answers "ready" or "unusable" first."""

    def messages(self, seconds: float) -> Sequence[Message]:
        """Wait for a message of any worker, but not longer than some seconds, and return all messages."""


@dataclass
class _Slot:
    """A worker and its display. `run_id` is None while it starts and while it is idle."""

    worker: WorkerHandle
    lane: Listener
    run_id: RunId | None = None
    idle: bool = False

    def begin(self, run_id: RunId) -> None:
        self.run_id, self.idle = run_id, False
        self.worker.begin(run_id)


class Pool:
    """Workers of one grid, and the runs that wait for them.

    Args:
        workers: Starts workers and brings their messages.
        work: Runs and listeners.
    """

    def __init__(self, workers: Workers, work: Work) -> None:
        self._workers, self._work = workers, work
        self._store, self._stop = work.runner.store, work.stop
        self._slots: dict[WorkerHandle, _Slot] = {}
        self._free_lanes: list[Listener] = []
        self._waiting: deque[RunId] = deque()
        self._elsewhere: list[tuple[float, RunId]] = []
        self._deaths: Counter[str] = Counter()
        self._most = math.inf  # each worker that cannot open its data lowers it to the number of the others
        self._opened = False
        self._reasons: dict[str, bool] = {}  # of workers that were given up, and whether a warning gave them

    def run(self) -> Iterator[Outcome]:
        """Yield an outcome for every run, until all runs are done or the pool is asked to stop.

        Raises:
            ExecutorError: If no worker can execute anything.
        """
        for run_id in self._work.runs:
            settled = self._work.runner.settled(run_id)
            if settled is None:
                self._waiting.append(run_id)
            else:
                yield settled
        told_to_stop: float | None = None
        while self._waiting or self._elsewhere or self._running():
            if self._stop.is_set():
                if told_to_stop is None:
                    told_to_stop = time.monotonic()
                    for slot in self._slots.values():
                        slot.worker.stop()
                if time.monotonic() - told_to_stop > self._workers.stop_seconds or not self._running():
                    return
            else:
                yield from self._begin()
            for message in self._workers.messages(_POLL_SECONDS):
                if message.worker in self._slots:  # otherwise it is a late message of a worker that was given up
                    yield from self._take(self._slots[message.worker], message.kind, message.value)

    def _running(self) -> bool:
        return any(slot.run_id for slot in self._slots.values())

    def _begin(self) -> Iterator[Outcome]:
        """Give runs to idle workers, and start workers while there are runs and room."""
        now = time.monotonic()
        self._waiting.extend(run_id for due, run_id in self._elsewhere if due <= now)
        self._elsewhere = [(due, run_id) for due, run_id in self._elsewhere if due > now]
        while self._waiting and self._work.runner.done(self._waiting[0].key):
            yield Outcome(self._waiting.popleft(), None, {})
        idle = [slot for slot in self._slots.values() if slot.idle]
        while self._waiting and idle:
            idle.pop().begin(self._waiting.popleft())
        starting = sum(slot.run_id is None and not slot.idle for slot in self._slots.values())
        while starting < len(self._waiting) and len(self._slots) < min(self._workers.room(), self._most):
            lane = self._free_lanes.pop() if self._free_lanes else self._work.lane()
            slot = _Slot(self._workers.start(), lane)
            self._slots[slot.worker] = slot
            starting += 1

    def _take(self, slot: _Slot, kind: str, value: Any) -> Iterator[Outcome]:
        """Pass progress on to the listener of its worker, and act on everything else."""
        if kind == "started":
            if slot.run_id is not None:
                slot.lane.started(slot.run_id)
        elif kind == "epoch":
            slot.lane.epoch(Epoch(**value))
        elif kind == "condition":
            slot.lane.condition(value)
        elif kind == "died":
            yield from self._bury(slot, value)
        else:
            yield from self._end_run(slot, kind, value)

    def _end_run(self, slot: _Slot, answer: str, value: Any) -> Iterator[Outcome]:
        run_id, slot.run_id = slot.run_id, None
        if run_id is None and answer != "ready":
            self._give_up(slot, value)
            return
        if answer == "ready":
            self._deaths["starting"] = 0
            self._opened = True
            self._warn()
        if answer == "unusable":
            raise ExecutorError(value)
        if answer == "lost":
            self._retire(slot)
        else:
            slot.idle = True
        if run_id is None:
            return
        if answer == "done":
            yield self._arrived(run_id, value)
        elif answer in ("failed", "lost"):
            yield Outcome(run_id, None, {}, value)
        elif answer == "elsewhere":
            self._elsewhere.append((time.monotonic() + _CLAIMED_ELSEWHERE_SECONDS, run_id))

    def _give_up(self, slot: _Slot, reason: str) -> None:
        """Continue with the other workers after one could not open its data.

        Raises:
            ExecutorError: If no worker is left.
        """
        self._retire(slot)
        if not self._slots:
            raise ExecutorError(reason)
        self._most = len(self._slots)
        self._reasons.setdefault(reason, False)
        self._warn()

    def _warn(self) -> None:
        """Give the reasons of workers that were given up, once it is known that the grid continues without them."""
        if self._opened:
            for reason in (reason for reason, said in self._reasons.items() if not said):
                log.warning("%s. The grid continues with fewer workers.", reason)
            self._reasons = dict.fromkeys(self._reasons, True)

    def _bury(self, slot: _Slot, reason: str) -> Iterator[Outcome]:
        """Remove a worker that is lost, alone or with its node, and begin its run again on another one."""
        self._retire(slot)
        run_id, first_line = slot.run_id, reason.partition("\n")[0]
        died_of = run_id.key if run_id else "starting"
        self._deaths[died_of] += 1
        if run_id is None and self._deaths[died_of] == MAX_DEATHS:
            raise ExecutorError(f"{MAX_DEATHS} workers died while they started: {first_line}")
        if run_id is not None and self._deaths[died_of] == MAX_DEATHS:
            sentence = f"{MAX_DEATHS} workers died during this run, the last one with: {first_line}"
            with self._store.claim(run_id.key) as mine:
                if mine:
                    self._store.fail(run_id, sentence, reason, environment("cpu"), keep_checkpoint=True)
                    self._store.note("failed", run_id.key)
            yield Outcome(run_id, None, {}, sentence)
        elif run_id is not None:
            self._waiting.appendleft(run_id)

    def _retire(self, slot: _Slot) -> None:
        slot.worker.kill()
        del self._slots[slot.worker]
        self._free_lanes.append(slot.lane)

    def _arrived(self, run_id: RunId, seconds: float | None) -> Outcome:
        """Return the results of a worker as soon as this machine sees them, which may take time on NFS."""
        deadline = time.monotonic() + _VISIBLE_AFTER_SECONDS
        while not self._work.runner.done(run_id.key):
            if time.monotonic() > deadline:
                raise ExecutorError(
                    "a worker has finished a run, but its result is not in --out on this machine; "
                    "put --out on shared storage"
                )
            time.sleep(_POLL_SECONDS)
        return Outcome(run_id, seconds, self._store.posteriors(run_id.key) if seconds is not None else {})
