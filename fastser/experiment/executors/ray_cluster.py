"""Run the trainings on the workers of a Ray cluster, or of one that is started on this machine for the while.

Ray places the workers and notices when they die. What they do they write into the results store; only progress and how
it went come back.
"""

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastser.experiment.executors import ExecutorError, Listener, Outcome, cell_of
from fastser.experiment.executors.ray_worker import Worker
from fastser.experiment.store import ResultStore, RunId
from fastser.runtime.provenance import environment
from fastser.training.loop import Epoch

MAX_DEATHS = 3
"""How many workers may die of one training before it counts as failed, or while they start before the run ends."""

_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 10.0
_LOOK_AT_CLUSTER_SECONDS = 5.0
_CLAIMED_ELSEWHERE_SECONDS = 1.0
_STOP_SECONDS = 60.0
_VISIBLE_AFTER_SECONDS = 60.0
_OBJECT_STORE_BYTES = 100 * 2**20  # nothing large goes through it


@dataclass(frozen=True)
class Resources:
    """What to run on.

    Attributes:
        address: Of an existing cluster, as `ray.init` takes it; None starts one on this machine, on loopback only.
        cpus: Cores of one training, which are its threads too.
        gpus: GPUs of one training; 0.25 puts four on one GPU.
        dashboard: Whether a cluster that is started here has Ray's dashboard.
    """

    address: str | None
    cpus: int
    gpus: float
    dashboard: bool


def run(
    spec: Path,
    resources: Resources,
    store: ResultStore,
    trainings: Sequence[RunId],
    lane: Callable[[], Listener],
    stop: threading.Event,
) -> Iterator[Outcome]:
    """Run those trainings that are not finished, and yield an outcome for every one.

    Args:
        spec: What `WorkerConfig.write` wrote.
        resources: What to run on.
        store: The same results as in `spec`.
        trainings: The plan, in the order in which it is to be begun.
        lane: Gives a listener for another worker.
        stop: When it is set nothing is begun, and the running trainings stop where they can go on.

    Raises:
        ExecutorError: If no worker can run anything.
    """
    with _cluster(resources) as ray:
        yield from _Pool(ray, spec, resources, store, lane, stop).run(trainings)


@contextmanager
def _cluster(resources: Resources) -> Iterator[Any]:
    """Connect to the cluster, or start one whose processes end with this one."""
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
    if resources.address is None:
        os.environ |= {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's name for: every server binds to loopback
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        options |= {"object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": resources.dashboard}
    else:
        _must_answer(resources.address)
        options["address"] = resources.address
    import ray  # the settings above are read at import

    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"--ray-address {resources.address}" if resources.address else "Ray does not start here"
        raise ExecutorError(f"{where}: {_first_line(error)}") from error
    signal.signal(signal.SIGTERM, on_sigterm)  # which ray.init has taken
    try:
        yield ray
    finally:
        ray.shutdown()


def _must_answer(address: str) -> None:
    """Ray itself waits for minutes for a cluster that is not there."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
        except OSError as error:
            raise ExecutorError(f"--ray-address {address}: nothing answers there ({error})") from error


@dataclass
class _Slot:
    """A worker as this process sees it; `training` is None while it starts and when it has nothing to do."""

    actor: Any
    lane: Listener
    answer: Any
    events: Any
    training: RunId | None = None

    def begin(self, training: RunId) -> None:
        """Let the worker run a training."""
        self.training = training
        self.answer = self.actor.run.remote(cell_of(training), training.key)

    def listen(self, events: Sequence[tuple[str, Any]]) -> None:
        """Pass on what the worker has said, and ask again."""
        for kind, what in events:
            if kind == "started" and self.training is not None:
                self.lane.started(self.training)
            elif kind == "epoch":
                self.lane.epoch(Epoch(**what))
            elif kind == "condition":
                self.lane.condition(what)
        self.events = self.actor.events.remote()


class _Pool:
    """The workers, and what waits for them."""

    def __init__(
        self,
        ray: Any,
        spec: Path,
        resources: Resources,
        store: ResultStore,
        lane: Callable[[], Listener],
        stop: threading.Event,
    ) -> None:
        self._ray, self._store, self._resources = ray, store, resources
        self._lane, self._stop = lane, stop
        threads = str(resources.cpus)
        self._make = ray.remote(Worker).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_concurrency=2,  # one training, and questions about it
            runtime_env={"env_vars": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}},
        )
        self._spec = str(spec)
        self._slots: list[_Slot] = []
        self._idle: list[_Slot] = []
        self._free_lanes: list[Listener] = []
        self._waiting: deque[RunId] = deque()
        self._elsewhere: list[tuple[float, RunId]] = []
        self._deaths: Counter[str] = Counter()
        self._capacity, self._looked = 0, float("-inf")

    def run(self, trainings: Sequence[RunId]) -> Iterator[Outcome]:
        """Yield an outcome for every training, or until it is told to stop."""
        self._waiting.extend(trainings)
        told_to_stop: float | None = None
        while self._waiting or self._elsewhere or any(slot.training for slot in self._slots):
            if self._stop.is_set():
                if told_to_stop is None:
                    told_to_stop = time.monotonic()
                    for slot in self._slots:
                        slot.actor.stop.remote()
                if time.monotonic() - told_to_stop > _STOP_SECONDS or not any(slot.training for slot in self._slots):
                    return
            else:
                yield from self._begin()
            yield from self._collect()

    def _begin(self) -> Iterator[Outcome]:
        """Give work to idle workers, and start more of them while there is work and room."""
        now = time.monotonic()
        self._waiting.extend(training for due, training in self._elsewhere if due <= now)
        self._elsewhere = [(due, training) for due, training in self._elsewhere if due > now]
        while self._waiting and self._store.finished(self._waiting[0].key):
            yield Outcome(self._waiting.popleft(), None, {})
        while self._waiting and self._idle:
            self._idle.pop().begin(self._waiting.popleft())
        starting = sum(slot.training is None for slot in self._slots) - len(self._idle)
        while starting < len(self._waiting) and len(self._slots) < self._room():
            self._start()
            starting += 1

    def _room(self) -> int:
        """How many workers the cluster's nodes hold; nodes may come and go."""
        if time.monotonic() - self._looked > _LOOK_AT_CLUSTER_SECONDS:
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            asked = {"CPU": float(self._resources.cpus), "GPU": self._resources.gpus}
            self._capacity = sum(
                min(int(node.get(name, 0.0) / share + 1e-9) for name, share in asked.items() if share) for node in nodes
            )
            self._looked = time.monotonic()
            if not nodes:
                raise ExecutorError("no node of the Ray cluster is alive any more; the same command goes on elsewhere")
        if not self._capacity:
            raise ExecutorError(
                f"no node of the Ray cluster has what one training is to have: {self._resources.cpus} CPUs "
                f"(--cpus-per-run) and {self._resources.gpus:g} GPUs (--gpus-per-run)"
            )
        return self._capacity

    def _start(self) -> None:
        actor = self._make.remote(self._spec)
        lane = self._free_lanes.pop() if self._free_lanes else self._lane()
        self._slots.append(_Slot(actor, lane, actor.open.remote(), actor.events.remote()))

    def _collect(self) -> Iterator[Outcome]:
        """Wait a moment for an answer of any worker, and pass on what the others say about how far they are."""
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
        training, slot.training = slot.training, None
        if how == "unusable" or (how == "failed" and training is None):
            raise ExecutorError(what)
        if how == "lost":
            self._retire(slot)
        else:
            self._idle.append(slot)
        if training is None:
            return
        if how == "done":
            yield self._arrived(training, what)
        elif how in ("failed", "lost"):
            yield Outcome(training, None, {}, what)
        elif how == "elsewhere":
            self._elsewhere.append((time.monotonic() + _CLAIMED_ELSEWHERE_SECONDS, training))

    def _bury(self, slot: _Slot, error: Exception) -> Iterator[Outcome]:
        """A worker or its node is lost: its training is begun again on another one."""
        self._retire(slot)
        self._looked = float("-inf")
        training = slot.training
        died_of = training.key if training else "starting"
        self._deaths[died_of] += 1
        if training is None and self._deaths[died_of] == MAX_DEATHS:
            raise ExecutorError(f"{MAX_DEATHS} workers died while they started: {_first_line(error)}") from error
        if training is not None and self._deaths[died_of] == MAX_DEATHS:
            reason = f"{MAX_DEATHS} workers died of it, the last one so: {_first_line(error)}"
            with self._store.claim(training.key) as mine:
                if mine:
                    self._store.fail(training, reason, str(error), environment("cpu"))
                    self._store.note("failed", training.key)
            yield Outcome(training, None, {}, reason)
        elif training is not None:
            self._waiting.appendleft(training)

    def _retire(self, slot: _Slot) -> None:
        self._ray.kill(slot.actor)
        self._slots.remove(slot)
        self._free_lanes.append(slot.lane)

    def _arrived(self, training: RunId, seconds: float | None) -> Outcome:
        """What a worker has written, as soon as this machine sees it (NFS may take its time)."""
        deadline = time.monotonic() + _VISIBLE_AFTER_SECONDS
        while not self._store.finished(training.key):
            if time.monotonic() > deadline:
                raise ExecutorError("a worker has finished a training, but it is not under --out here; is that shared?")
            time.sleep(_POLL_SECONDS)
        return Outcome(training, seconds, self._store.posteriors(training.key) if seconds is not None else {})


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def check_share(gpus: float | None) -> None:
    """Refuse what Ray cannot count.

    Args:
        gpus: Of one training.

    Raises:
        ExecutorError: If it is neither a share nor a whole number.
    """
    if gpus is not None and (0 < gpus < 0.001 or (gpus > 1 and gpus % 1)):
        raise ExecutorError(f"--gpus-per-run {gpus:g}: expected 0, a share from 0.001 to 1, or a whole number")
