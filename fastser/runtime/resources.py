"""Cores and memory that this process may use, where a scheduler or a container grants a part of the machine."""

import os
from collections.abc import Iterator
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_GROUPS = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self")
_MEMORY = Path("/proc/meminfo")


def usable_cores() -> int:
    """Return the number of physical cores that this process may use, at least 1.

    The affinity of the process and the CPU quotas of its control groups bound the number. Two hardware threads of a
    core count once, because they share its arithmetic units.
    """
    # Only Linux has an affinity.
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = {_text(_CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list") or str(cpu) for cpu in cpus}
    return max(1, int(min([len(cores), *_quotas()])))


def available_memory() -> int | None:
    """Return the bytes that processes can still take before the system or a control group runs out of memory.

    Memory that only caches files counts as available. Systems without `/proc/meminfo` give None.
    """
    free = [1024 * int(line.split()[1]) for line in _text(_MEMORY).splitlines() if line.startswith("MemAvailable:")]
    return min([*free, *_memory_left()]) if free else None


def _quotas() -> Iterator[float]:
    """Yield the CPU quota of each control group of this process that has one, in CPUs."""
    for group in _groups("cpu"):
        quota, _, period = _text(group / "cpu.max").partition(" ")  # version 2
        if not quota:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")  # version 1
        if quota.isdecimal() and period.isdecimal():  # "max" or -1 where there is no quota
            yield int(quota) / int(period)


def _memory_left() -> Iterator[int]:
    """Yield the bytes that each control group of this process that has a limit leaves."""
    for group in _groups("memory"):
        for limit, usage, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            numbers = _text(group / limit), _text(group / usage)
            if all(number.isdecimal() for number in numbers):
                statistics = dict(line.split() for line in _text(group / "memory.stat").splitlines())
                yield int(numbers[0]) - int(numbers[1]) + int(statistics.get(cached, 0))


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process' control groups, of version 1 or 2, from the innermost to the root."""
    for line in _text(_PROCESS / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _GROUPS / controller if controllers else _GROUPS
        innermost = root / path.lstrip("/")
        yield from (folder for folder in (innermost, *innermost.parents) if folder.is_relative_to(root))


def _text(path: Path) -> str:
    """Return the text of a file of the kernel, or nothing if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
