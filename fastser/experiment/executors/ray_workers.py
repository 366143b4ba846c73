"""Workers of the pool as Ray actors: places, answers and deaths."""

import os
import time
from pathlib import Path
from typing import Any

from fastser.experiment.executors.outcomes import ExecutorError
from fastser.experiment.executors.pool import Message
from fastser.experiment.executors.ray_worker import Actor
from fastser.experiment.grid import RunId
from fastser.runtime.openmp import variables_of_workers

_LOOK_AT_CLUSTER_SECONDS = 5.0


class RayWorker:
    """A Ray actor, seen from this process.

    Args:
        ray: The `ray` module.
        actor: Handle of the actor.
    """

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self.actor = ray, actor
        self.answer = actor.open.remote()
        self.events = actor.events.remote()
        self.alive = True

    def begin(self, run_id: RunId) -> None:
        """Give a run to the worker."""
        self.answer = self.actor.run.remote(run_id.point, run_id.key)

    def stop(self) -> None:
        """Ask the running run to stop where it can be continued."""
        self.actor.stop.remote()

    def kill(self) -> None:
        """End the worker at once, if it still lives."""
        self._ray.kill(self.actor)
        self.alive = False


class RayWorkers:
    """Ray actors of one grid.

    Args:
        ray: The `ray` module, connected to a cluster.
        config: Path of a file from `WorkerConfig.write`.
        cpus: Cores of one run, which are its threads.
        gpus: GPUs of one run. 0.25 places four runs on one GPU.
    """

    stop_seconds = 60.0

    def __init__(self, ray: Any, config: Path, cpus: int, gpus: float) -> None:
        self._ray, self._config, self._cpus, self._gpus = ray, str(config), cpus, gpus
        self._make = ray.remote(Actor).options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_concurrency=2,  # one run, and questions about its progress
            runtime_env={"env_vars": variables_of_workers(cpus, os.environ)},
        )
        self._started: list[RayWorker] = []
        self._capacity, self._looked = 0, float("-inf")

    def room(self) -> int:
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

    def start(self) -> RayWorker:
        """Start an actor. Ray places it."""
        self._started.append(RayWorker(self._ray, self._make.remote(self._config)))
        return self._started[-1]

    def messages(self, seconds: float) -> list[Message]:
        """Wait for an answer of any worker, and return it with the progress of the others."""
        self._started = [worker for worker in self._started if worker.alive]
        asked = [worker for worker in self._started if worker.answer is not None]
        if not asked:
            time.sleep(seconds)
            return []
        answered, _ = self._ray.wait([worker.answer for worker in asked], num_returns=1, timeout=seconds)
        return [message for worker in asked for message in self._of_worker(worker, worker.answer in answered)]

    def _of_worker(self, worker: RayWorker, answered: bool) -> list[Message]:
        found: list[Message] = []
        try:
            if self._ray.wait([worker.events], timeout=0)[0]:
                found += [Message(worker, kind, value) for kind, value in self._ray.get(worker.events)]
                worker.events = worker.actor.events.remote()
            if answered:
                answer, worker.answer = worker.answer, None
                found.append(Message(worker, *self._ray.get(answer)))
        except self._ray.exceptions.RayTaskError as error:
            worker.answer = None
            found.append(Message(worker, "failed", str(error.cause).partition("\n")[0]))
        except self._ray.exceptions.RayError as error:
            self._looked = float("-inf")  # its node may be gone too
            found.append(Message(worker, "died", str(error) or type(error).__name__))
        return found
