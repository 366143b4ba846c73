"""The executor of worker processes: kills, signals, deaths, and the number of runs at a time."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from invented_results import identity
from processes import SMALL_RUNS, Start, events, family, finish, history, suspend_within_a_run, tables, wait_until_gone
from small_runs import SilentListener

from fastser.experiment.executors import EXECUTORS, ExecutorError, Outcome, RunOptions, Work, automatic, processes
from fastser.experiment.executors.automatic import with_named_executor
from fastser.experiment.executors.pool import Pool
from fastser.experiment.executors.process_workers import ProcessWorkers
from fastser.experiment.executors.runner import Runner
from fastser.experiment.store import ResultStore

PROCESSES = ["--executor=processes", "--jobs=2", "--checkpoint-minutes=0"]
ENDLESS = ["--set=training.max_epochs=100000", "--set=training.stop_after=100000"]
RUNS = [identity(f"{number:016x}", repeat=number) for number in (1, 2, 3)]


def test_a_killed_worker_costs_nothing(start: Start, grid: list[str], serial: dict[str, str], tmp_path: Path) -> None:
    process = start(*grid, *PROCESSES, "--out", tmp_path)
    victim = suspend_within_a_run(tmp_path, process)
    members = family(process.pid)
    assert victim["pid"] in members - {process.pid}
    os.kill(victim["pid"], signal.SIGKILL)
    status, said, err = finish(process)
    assert (status, err) == (0, "")
    assert f"{SMALL_RUNS} of {SMALL_RUNS} runs finished" in said
    assert "2 runs at a time with 1 thread each" in said
    assert tables(tmp_path) == serial
    counts = history(tmp_path)
    assert [of_key["finished"] for of_key in counts.values()] == [1] * SMALL_RUNS
    assert sum(of_key["started"] + of_key["continued"] for of_key in counts.values()) == SMALL_RUNS + 1
    wait_until_gone(members)


def test_workers_end_with_a_killed_command_and_stop_with_an_interrupted_one(
    start: Start, grid: list[str], tmp_path: Path
) -> None:
    """A terminal sends Ctrl-C to the command and to its workers."""

    def started() -> tuple[Any, set[int], set[str]]:
        process = start(*grid, *PROCESSES, *ENDLESS, "--out", tmp_path)
        log = (record for record in events(tmp_path, process) if record["pid"] in family(process.pid))
        begun = {record["key"] for record in islice(log, 2)}
        return process, family(process.pid), begun

    process, members, keys = started()
    process.kill()
    process.communicate()
    wait_until_gone(members)
    process, members, begun = started()
    for pid in members:
        os.kill(pid, signal.SIGINT)
    status, said, err = finish(process)
    assert (status, err) == (130, "")
    assert "stopping where the running runs can be continued; press again to end at once" in said
    assert re.search(rf"interrupted: 0 of {SMALL_RUNS} runs are finished .*the same command continues", said)
    assert begun == keys
    for key in keys:
        counts = history(tmp_path)[key]
        assert (counts["started"] + counts["continued"], counts["stopped"], counts["failed"]) == (2, 1, 0)
        assert (tmp_path / "checkpoints" / f"{key}.safetensors").exists()
    wait_until_gone(members)


SCRIPTED = """
import json, os, signal, sys
print('["ready", null]', flush=True)
for line in sys.stdin:
    _, point, key = json.loads(line)
    print('["started", null]', flush=True)
    if key == "0000000000000001":
        os.kill(os.getpid(), signal.SIGKILL)
    print('["failed", "no luck"]', flush=True)
"""


def outcomes_of(script: str, workers: int, out: Path) -> Iterator[Outcome]:
    """Run a pool of processes that execute a script of Python."""
    work = Work(Runner(None, ResultStore(out)), RUNS, RunOptions(), SilentListener)  # type: ignore[arg-type]
    with ProcessWorkers(Path("none"), 1, workers, [sys.executable, "-S", "-c", script]) as started:
        yield from Pool(started, work).run()
        assert started.room() == 1  # the system may have killed a process for its memory


@pytest.mark.fast
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_is_always_killed_costs_a_sentence_and_not_the_grid(tmp_path: Path, workers: int) -> None:
    failures = {outcome.run_id: outcome.failure or "" for outcome in outcomes_of(SCRIPTED, workers, tmp_path)}
    assert failures.keys() == set(RUNS)
    assert failures[RUNS[0]].startswith("3 workers died during this run, the last one with: the system killed the proc")
    assert "--jobs" in failures[RUNS[0]]
    assert [failures[run_id] for run_id in RUNS[1:]] == ["no luck", "no luck"]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("script", "reason"),
    [("raise SystemExit(3)", "exit status 3"), ("import os; os.kill(os.getpid(), 6)", r"signal 6 \(Aborted\)")],
)
def test_workers_that_die_at_their_start_end_the_grid(tmp_path: Path, script: str, reason: str) -> None:
    with pytest.raises(ExecutorError, match=f"^3 workers died while they started: {reason}$"):
        list(outcomes_of(script, 1, tmp_path))


GB = 10**9
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "device", "runs", "expected", "note"),
    [
        (RunOptions(), CPU, 70, (8, 1), ""),
        (RunOptions(cpus_per_run=3), CPU, 70, (2, 3), "--cpus-per-run 4"),
        (RunOptions(), CPU, 2, (2, 1), "8 cores can be used: --cpus-per-run 4"),
        (RunOptions(jobs=5), CPU, 70, (5, 1), ""),
        (RunOptions(), GPU, 70, (1, 1), ""),
        (RunOptions(jobs=3), GPU, 70, (3, 1), ""),
        (RunOptions(), CPU, 0, (1, 1), ""),
    ],
)
def test_runs_share_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    options: RunOptions,
    device: torch.device,
    runs: int,
    expected: tuple[int, int],
    note: str,
) -> None:
    placement = placed(monkeypatch, options, device, runs, memory=1000 * GB)
    assert (placement.at_a_time, placement.threads) == expected
    assert note in " ".join(placement.notes)
    assert bool(note) == bool(placement.notes)


@pytest.mark.fast
@pytest.mark.parametrize(("memory", "number"), [(7 * GB, 3), (GB, 1), (17 * GB, 8), (None, 8)])
def test_memory_bounds_the_number_of_runs(monkeypatch: pytest.MonkeyPatch, memory: int | None, number: int) -> None:
    placement = placed(monkeypatch, RunOptions(), CPU, 70, memory)
    assert placement.at_a_time == number
    assert bool(placement.notes) == (number < 8)
    assert all(f"memory for {number} at a time" in note for note in placement.notes)
    assert placed(monkeypatch, RunOptions(jobs=8), CPU, 70, memory).at_a_time == 8


def placed(
    monkeypatch: pytest.MonkeyPatch, options: RunOptions, device: torch.device, runs: int, memory: int | None
) -> Any:
    """Place runs of which each needs 2 GB on a machine of 8 cores."""
    monkeypatch.setattr(processes, "usable_cores", lambda: 8)
    monkeypatch.setattr(processes, "available_memory", lambda: memory)
    monkeypatch.setattr(processes, "run_bytes", lambda model, experiment: 2 * GB)
    experiment: Any = SimpleNamespace(device=device)
    return EXECUTORS["processes"].placement(options, experiment, [identity(f"{n:016x}") for n in range(runs)])


@pytest.mark.fast
@pytest.mark.parametrize(("device", "name"), [(CPU, "processes"), (GPU, "serial")])
def test_the_device_decides_between_processes_and_serial(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, name: str
) -> None:
    monkeypatch.setattr(automatic, "named_device", lambda _: device)
    assert with_named_executor(RunOptions()) == RunOptions(executor=name)
    assert with_named_executor(RunOptions(executor="ray")) == RunOptions(executor="ray")
