"""Parts that the executors of a cluster share."""

from importlib.util import find_spec

import torch

from fastser.experiment.executors.executor import Placement
from fastser.experiment.executors.outcomes import ExecutorError
from fastser.experiment.options import RunOptions
from fastser.runtime.device import DeviceError, named_device


def require_extra(executor: str, package: str) -> None:
    """Check that the package of an executor is installed.

    Raises:
        ExecutorError: If it is not.
    """
    if find_spec(package) is None:
        raise ExecutorError(
            f"--executor {executor} needs the extra: pip install 'fastser[{executor}]', or '.[{executor}]' in a clone"
        )


def worker_device(options: RunOptions, wants_gpu: bool | None) -> torch.device:
    """Return the device of the workers.

    Args:
        options: `--device` and `--executor`.
        wants_gpu: Whether the options ask the cluster for GPUs. None if they do not say.

    Raises:
        DeviceError: If `--device` is neither cpu, cuda nor auto.
    """
    if options.device not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"--device {options.device}: with --executor {options.executor} give cpu, cuda or auto")
    here = named_device(options.device if options.device == "cpu" else "auto")
    if options.device != "auto":
        return torch.device(options.device)
    return here if wants_gpu is None else torch.device("cuda" if wants_gpu else "cpu")


def one_after_another(options: RunOptions) -> Placement:
    """Return the placement by which the time of runs on a cluster is estimated: one at a time on this machine."""
    return Placement(1, options.cpus_per_run)


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or its type."""
    return next(iter(str(error).splitlines()), type(error).__name__)
