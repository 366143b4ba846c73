"""Executors: processes of this machine, this process, a Ray cluster, Slurm jobs. `EXECUTORS` lists them."""

from fastser.experiment.executors.executor import Executor, Placement, Work
from fastser.experiment.executors.outcomes import ExecutorError, Listener, Outcome
from fastser.experiment.executors.processes import ProcessExecutor
from fastser.experiment.executors.ray_executor import RayExecutor
from fastser.experiment.executors.serial import SerialExecutor
from fastser.experiment.executors.slurm import SlurmExecutor
from fastser.experiment.options import RunOptions
from fastser.runtime.registry import Registry

__all__ = ["EXECUTORS", "Executor", "ExecutorError", "Listener", "Outcome", "Placement", "RunOptions", "Work"]

EXECUTORS: Registry[Executor] = Registry(
    "executor", [ProcessExecutor(), SerialExecutor(), RayExecutor(), SlurmExecutor()]
)
"""All executors by name."""
