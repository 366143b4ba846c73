"""Stand-in for the module `ray`: its actors are objects in threads of this process, one at a time."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from fastser.experiment.executors import ray_executor


class RayError(Exception):
    """The death of an actor or of its node."""


class RayTaskError(RayError):
    """An exception in a method of an actor."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class FakeActor:
    """An actor. Its method `run` is executed in a thread, every other method at once."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def __getattr__(self, name: str) -> SimpleNamespace:
        method = getattr(self._instance, name)
        return SimpleNamespace(remote=lambda *arguments: self._call(name, method, arguments))

    def _call(self, name: str, method: Callable[..., Any], arguments: Sequence[Any]) -> "Future[Any]":
        answer: Future[Any] = Future()

        def execute() -> None:
            try:
                answer.set_result(_as_task(method, arguments))
            except RayError as error:
                answer.set_exception(error)

        if name == "run":
            threading.Thread(target=execute, daemon=True).start()
        else:
            execute()
        return answer


class FakeRay:
    """The part of `ray` that `fastser.experiment.executors.ray_workers` uses.

    Args:
        cpus: Number of CPUs of each node.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, cpus: Sequence[float] = (1.0,)) -> None:
        self._cpus = cpus
        self.killed: list[FakeActor] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": cpus}} for cpus in self._cpus]

    def remote(self, kind: Callable[..., Any]) -> SimpleNamespace:
        made = SimpleNamespace(remote=lambda *arguments: FakeActor(kind(*arguments)))
        return SimpleNamespace(options=lambda **_: made)

    def wait(
        self, answers: "Sequence[Future[Any]]", num_returns: int = 1, timeout: float | None = None
    ) -> "tuple[list[Future[Any]], list[Future[Any]]]":
        done, pending = wait(answers, timeout, FIRST_COMPLETED)
        return list(done), list(pending)

    def get(self, answer: "Future[Any]") -> Any:
        return answer.result()

    def kill(self, actor: FakeActor) -> None:
        self.killed.append(actor)


def _as_task(method: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Call a method. An exception that is not the death of the actor becomes that of a task."""
    try:
        return method(*arguments)
    except RayError:
        raise
    except Exception as error:
        raise RayTaskError(error) from error


def install() -> None:
    """Let the Ray executor of this process use the stand-in."""

    @contextmanager
    def connected(address: str | None, dashboard: bool) -> Iterator[FakeRay]:
        yield FakeRay()

    ray_executor._connected = connected
