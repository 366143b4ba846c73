"""Ray executor: runs on the workers of a Ray cluster, or of a cluster that is started on this machine for the run.

Ray places the workers and detects their death. Workers write to the results folder. Only progress and outcomes come
back through Ray.
"""

import logging
import os
import secrets
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from fastser.experiment.executors.cluster import first_line, one_after_another, require_extra, worker_device
from fastser.experiment.executors.executor import Placement, Work
from fastser.experiment.executors.outcomes import ExecutorError, Outcome
from fastser.experiment.executors.pool import Pool
from fastser.experiment.executors.ray_workers import RayWorkers
from fastser.experiment.executors.worker_config import WorkerConfig
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId
from fastser.experiment.options import RunOptions

_ANSWER_SECONDS = 10.0
_OBJECT_STORE_BYTES = 100 * 2**20  # nothing large goes through it


class RayExecutor:
    """Executor of runs on the workers of a Ray cluster."""

    name = "ray"
    in_this_process = False
    stop_message = "saving the running runs, so that they can be continued; press again to end at once"

    def check(self, options: RunOptions) -> None:
        """Check that Ray is installed and that `--gpus-per-run` is a number that Ray can count."""
        require_extra("ray", "ray")
        gpus = options.gpus_per_run
        if gpus is not None and not (gpus == 0 or 0.001 <= gpus <= 1 or (gpus > 1 and gpus % 1 == 0)):
            raise ExecutorError(f"--gpus-per-run {gpus:g}: expected 0, a share from 0.001 to 1, or a whole number")

    def device(self, options: RunOptions) -> torch.device:
        """Return the device of the workers."""
        return worker_device(options, None if options.gpus_per_run is None else options.gpus_per_run > 0)

    def placement(self, options: RunOptions, experiment: Experiment, todo: Sequence[RunId]) -> Placement:  # noqa: ARG002
        """Return the threads of one run. The size of the cluster is not known yet."""
        return one_after_another(options)

    def run(self, work: Work) -> Iterator[Outcome]:
        """Run every run of the plan on the cluster."""
        options = work.options
        config = WorkerConfig.of(work.runner, options.out, options.cpus_per_run, options.model).write()
        on_gpu = work.runner.experiment.device.type == "cuda"
        gpus = float(on_gpu) if options.gpus_per_run is None else options.gpus_per_run
        with _connected(options.ray_address, options.ray_dashboard) as ray:
            yield from Pool(RayWorkers(ray, config, options.cpus_per_run, gpus), work).run()


@contextmanager
def _connected(address: str | None, dashboard: bool) -> Iterator[Any]:
    """Connect to a cluster, or start one whose processes end with this process.

    A cluster that is started here listens on loopback only. The environment and the handler of SIGTERM, which Ray
    changes, are restored.
    """
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
    environment, on_sigterm = dict(os.environ), signal.getsignal(signal.SIGTERM)
    if address is None:
        os.environ |= {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's name for: every server binds to loopback
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        options |= {"object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": dashboard}
    else:
        _check_answers(address)
        options["address"] = address
    import ray  # reads the environment at import

    try:
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = f"--ray-address {address}" if address else "Ray does not start here"
            raise ExecutorError(f"{where}: {first_line(error)}") from error
        finally:
            if on_sigterm is not None:
                signal.signal(signal.SIGTERM, on_sigterm)
        yield ray
    finally:
        ray.shutdown()
        os.environ.clear()
        os.environ |= environment


def _check_answers(address: str) -> None:
    """Check that something listens at an address. Ray itself would wait for minutes.

    Raises:
        ExecutorError: If nothing answers.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
        except OSError as error:
            raise ExecutorError(f"--ray-address {address}: nothing answers there ({error})") from error
