"""Options of sbatch: parsing and checks."""

import re
from collections.abc import Sequence
from typing import Any

from fastser.experiment.executors.base import ExecutorError

RESERVED = (
    *("array", "output", "error", "open-mode", "signal", "ntasks", "ntasks-per-node", "nodes", "requeue", "wrap"),
    *("cpus-per-task", "job-name"),
)
"""Options of sbatch that fastser sets itself."""

_WITH_VALUE = ("time", "partition", "account", "gres", "mem", "qos", "constraint", "array-parallelism")


def wants_gpu(options: Sequence[str]) -> bool:
    """Return whether options of sbatch ask for a GPU."""
    return any(option.lstrip("-").startswith(("gpus", "gres=gpu")) for option in options)


def sbatch_options(options: Sequence[str]) -> dict[str, Any]:
    """Parse options of sbatch.

    Args:
        options: Texts such as "partition=gpu", or "exclusive" for an option without a value.

    Returns:
        Values by long name without dashes. True where there is no value.

    Raises:
        ExecutorError: If an option is malformed, or is one that fastser sets itself.
    """
    named: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        name = name.strip().lstrip("-").replace("_", "-")
        if not re.fullmatch("[a-z][a-z-]*[a-z]", name):
            raise ExecutorError(
                f"--slurm {option}: expected the long name of an option of sbatch, such as partition=gpu"
            )
        if name in RESERVED:
            raise ExecutorError(f"--slurm {option}: fastser sets this option of sbatch itself (cores: --cpus-per-run)")
        if name in _WITH_VALUE and not value:
            raise ExecutorError(f"--slurm {option}: expected {name}=VALUE")
        named[name] = value if equals else True
    if not str(named.get("array-parallelism", 1)).isdecimal():
        raise ExecutorError(f"--slurm array-parallelism={named['array-parallelism']}: expected a whole number")
    if "time" in named:
        minutes(named["time"])
    return named


def minutes(limit: str) -> int:
    """Convert a time limit of sbatch ("90", "12:30:00", "2-00") to minutes, rounded up.

    Raises:
        ExecutorError: If it is not a time limit.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit)
    if match is None:
        raise ExecutorError(f"--slurm time={limit}: expected minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS")
    days, *parts = match.groups()
    first, second, third = (int(part or 0) for part in parts)
    if days is not None or parts[2] is not None:
        hours, mins, secs = first, second, third
    else:
        hours, mins, secs = 0, first, second
    return max((int(days or 0) * 24 + hours) * 60 + mins + -(-secs // 60), 1)
