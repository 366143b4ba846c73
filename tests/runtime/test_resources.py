"""Cores and memory that a scheduler or a container grants to this process."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from fastser.runtime import resources
from fastser.runtime.resources import available_memory, usable_cores

pytestmark = pytest.mark.fast

MEGABYTE = 2**20


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of four cores with two hardware threads each and 100 MB of free memory, without control groups."""
    for name, folder in {"_CPUS": "cpus", "_GROUPS": "groups", "_PROCESS": "self", "_MEMORY": "meminfo"}.items():
        monkeypatch.setattr(resources, name, tmp_path / folder)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    write(tmp_path, {f"cpus/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 4},{cpu % 4 + 4}\n" for cpu in range(8)})
    write(tmp_path, {"meminfo": f"MemTotal: 9 kB\nMemAvailable:   {100 * 1024} kB\n"})
    return tmp_path


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_two_threads_of_a_core_count_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 5})
    assert usable_cores() == 2
    monkeypatch.setattr(resources, "_CPUS", machine / "nowhere")
    assert usable_cores() == 3


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"self/cgroup": "0::/a/b\n", "groups/a/b/cpu.max": "250000 100000"}, 2),
        ({"self/cgroup": "0::/a/b\n", "groups/a/b/cpu.max": "max 100000", "groups/a/cpu.max": "300000 100000"}, 3),
        ({"self/cgroup": "0::/\n", "groups/cpu.max": "50000 100000"}, 1),
        (
            {
                "self/cgroup": "3:cpu,cpuacct:/a\n",
                "groups/cpu/cpu.cfs_quota_us": "200000",  # a container sees its own group as the root
                "groups/cpu/cpu.cfs_period_us": "100000",
            },
            2,
        ),
        ({"self/cgroup": "3:cpu:/\n", "groups/cpu/cpu.cfs_quota_us": "-1"}, 4),
        ({"self/cgroup": "3:memory:/\n", "groups/cpu.max": "100000 100000"}, 4),
    ],
)
def test_quotas_of_control_groups_bound_the_cores(machine: Path, files: dict[str, str], cores: int) -> None:
    write(machine, files)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("files", "megabytes"),
    [
        ({}, 100),
        (
            {
                "self/cgroup": "0::/a\n",
                "groups/a/memory.max": str(50 * MEGABYTE),
                "groups/a/memory.current": str(40 * MEGABYTE),
                "groups/a/memory.stat": f"anon 1\ninactive_file {5 * MEGABYTE}\n",
            },
            15,
        ),
        (
            {
                "self/cgroup": "4:memory:/\n",
                "groups/memory/memory.limit_in_bytes": str(60 * MEGABYTE),
                "groups/memory/memory.usage_in_bytes": str(40 * MEGABYTE),
            },
            20,
        ),
        ({"self/cgroup": "0::/a\n", "groups/a/memory.max": "max", "groups/a/memory.current": "1"}, 100),
    ],
)
def test_limits_of_control_groups_bound_the_memory(machine: Path, files: dict[str, str], megabytes: int) -> None:
    write(machine, files)
    assert available_memory() == megabytes * MEGABYTE


def test_a_system_that_does_not_tell_its_memory(machine: Path) -> None:
    (machine / "meminfo").unlink()
    assert available_memory() is None
