"""Pool of Ray workers: gives runs to idle workers, starts workers, collects outcomes, replaces workers that die."""

import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastser.experiment.executors.cluster import first_line
from fastser.experiment.executors.executor import Work
from fastser.experiment.executors.outcomes import ExecutorError, Listener, Outcome
from fastser.experiment.executors.ray_worker import Worker
from fastser.experiment.grid import RunId
from fastser.runtime.openmp import waiting_of_commands
from fastser.runtime.provenance import environment
from fastser.training.state import Epoch

MAX_DEATHS = 3
"""Number of workers that may die during one run before it counts as failed.

The grid ends when as many workers in a row die at their start.
"""

_POLL_SECONDS = 0.2
_LOOK_AT_CLUSTER_SECONDS = 5.0
_CLAIMED_ELSEWHERE_SECONDS = 1.0
_STOP_SECONDS = 60.0
_VISIBLE_AFTER_SECONDS = 60.0


@dataclass
class _Slot:
    """A worker, seen from this process. `run_id` is None while it starts and while it is idle."""

    actor: Any
    lane: Listener
    answer: Any
    events: Any
    run_id: RunId | None = None

    def begin(self, run_id: RunId) -> None:
        """Give a run to the worker."""
        self.run_id = run_id
        self.answer = self.actor.run.remote(run_id.point, run_id.key)

    def listen(self, events: Sequence[tuple[str, Any]]) -> None:
        """Pass the worker's progress on to its listener, and ask for more."""
        for kind, what in events:
            if kind == "started" and self.run_id is not None:
                self.lane.started(self.run_id)
            elif kind == "epoch":
                self.lane.epoch(Epoch(**what))
            elif kind == "condition":
                self.lane.condition(what)
        self.events = self.actor.events.remote()


class Pool:
    """Workers of one grid, and the runs that wait for them.

    Args:
        ray: The `ray` module, connected to a cluster.
        config: Path of a file from `WorkerConfig.write`.
        cpus: Cores of one run, which are its threads.
        gpus: GPUs of one run. 0.25 places four runs on one GPU.
        work: Runs and listeners.
    """

    def __init__(self, ray: Any, config: Path, cpus: int, gpus: float, work: Work) -> None:
        self._ray, self._cpus, self._gpus, self._work = ray, cpus, gpus, work
        self._store, self._stop = work.runner.store, work.stop
        threads = {"OMP_NUM_THREADS": str(cpus), "MKL_NUM_THREADS": str(cpus)}
        self._make = ray.remote(Worker).options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_concurrency=2,  # one run, and questions about its progress
            runtime_env={"env_vars": threads | waiting_of_commands(os.environ)},
        )
        self._config = str(config)
        self._slots: list[_Slot] = []
        self._idle: list[_Slot] = []
        self._free_lanes: list[Listener] = []
        self._waiting: deque[RunId] = deque(work.runs)
        self._elsewhere: list[tuple[float, RunId]] = []
        self._deaths: Counter[str] = Counter()
        self._capacity, self._looked = 0, float("-inf")

    def run(self) -> Iterator[Outcome]:
        """Yield an outcome for every run, until all runs are done or the pool is asked to stop.

        Raises:
            ExecutorError: If no worker can execute anything.
        """
        told_to_stop: float | None = None
        while self._waiting or self._elsewhere or any(slot.run_id for slot in self._slots):
            if self._stop.is_set():
                if told_to_stop is None:
                    told_to_stop = time.monotonic()
                    for slot in self._slots:
                        slot.actor.stop.remote()
                if time.monotonic() - told_to_stop > _STOP_SECONDS or not any(slot.run_id for slot in self._slots):
                    return
            else:
                yield from self._begin()
            yield from self._collect()

    def _begin(self) -> Iterator[Outcome]:
        """Give runs to idle workers, and start workers while there are runs and room."""
        now = time.monotonic()
        self._waiting.extend(run_id for due, run_id in self._elsewhere if due <= now)
        self._elsewhere = [(due, run_id) for due, run_id in self._elsewhere if due > now]
        while self._waiting and self._work.runner.done(self._waiting[0].key):
            yield Outcome(self._waiting.popleft(), None, {})
        while self._waiting and self._idle:
            self._idle.pop().begin(self._waiting.popleft())
        starting = sum(slot.run_id is None for slot in self._slots) - len(self._idle)
        while starting < len(self._waiting) and len(self._slots) < self._room():
            self._start()
            starting += 1

    def _room(self) -> int:
        """Return the number of workers that fit on the nodes. Nodes may come and go."""
        if time.monotonic() - self._looked > _LOOK_AT_CLUSTER_SECONDS:
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            asked = {"CPU": float(self._cpus), "GPU": self._gpus}
            self._capacity = sum(
                min(int(node.get(name, 0.0) / share + 1e-9) for name, share in asked.items() if share) for node in nodes
            )
            self._looked = time.monotonic()
            if not nodes:
                raise ExecutorError(
                    "no node of the Ray cluster is alive any more; the same command continues on another cluster"
                )
        if not self._capacity:
            raise ExecutorError(
                f"no node of the Ray cluster is large enough for one run: {self._cpus} CPUs (--cpus-per-run) and "
                f"{self._gpus:g} GPUs (--gpus-per-run)"
            )
        return self._capacity

    def _start(self) -> None:
        actor = self._make.remote(self._config)
        lane = self._free_lanes.pop() if self._free_lanes else self._work.lane()
        self._slots.append(_Slot(actor, lane, actor.open.remote(), actor.events.remote()))

    def _collect(self) -> Iterator[Outcome]:
        """Wait briefly for an answer of any worker, and pass on the progress of the others."""
        asked = [slot for slot in self._slots if slot not in self._idle]
        if not asked:
            time.sleep(_POLL_SECONDS)
            return
        answered, _ = self._ray.wait([slot.answer for slot in asked], num_returns=1, timeout=_POLL_SECONDS)
        for slot in asked:
            try:
                if self._ray.wait([slot.events], timeout=0)[0]:
                    slot.listen(self._ray.get(slot.events))
                if slot.answer in answered:
                    yield from self._take(slot, *self._ray.get(slot.answer))
            except self._ray.exceptions.RayTaskError as error:
                yield from self._take(slot, "failed", str(error.cause).partition("\n")[0])
            except self._ray.exceptions.RayError as error:
                yield from self._bury(slot, error)

    def _take(self, slot: _Slot, how: str, what: Any) -> Iterator[Outcome]:
        run_id, slot.run_id = slot.run_id, None
        if how == "ready":
            self._deaths["starting"] = 0
        if how == "unusable" or (how == "failed" and run_id is None):
            raise ExecutorError(what)
        if how == "lost":
            self._retire(slot)
        else:
            self._idle.append(slot)
        if run_id is None:
            return
        if how == "done":
            yield self._arrived(run_id, what)
        elif how in ("failed", "lost"):
            yield Outcome(run_id, None, {}, what)
        elif how == "elsewhere":
            self._elsewhere.append((time.monotonic() + _CLAIMED_ELSEWHERE_SECONDS, run_id))

    def _bury(self, slot: _Slot, error: Exception) -> Iterator[Outcome]:
        """Remove a worker that is lost, alone or with its node, and begin its run again on another one."""
        self._retire(slot)
        self._looked = float("-inf")
        run_id = slot.run_id
        died_of = run_id.key if run_id else "starting"
        self._deaths[died_of] += 1
        if run_id is None and self._deaths[died_of] == MAX_DEATHS:
            raise ExecutorError(f"{MAX_DEATHS} workers died while they started: {first_line(error)}") from error
        if run_id is not None and self._deaths[died_of] == MAX_DEATHS:
            reason = f"{MAX_DEATHS} workers died during this run, the last one with: {first_line(error)}"
            with self._store.claim(run_id.key) as mine:
                if mine:
                    self._store.fail(run_id, reason, str(error), environment("cpu"))
                    self._store.note("failed", run_id.key)
            yield Outcome(run_id, None, {}, reason)
        elif run_id is not None:
            self._waiting.appendleft(run_id)

    def _retire(self, slot: _Slot) -> None:
        self._ray.kill(slot.actor)
        self._slots.remove(slot)
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
