"""The executor of worker processes: kills, signals, deaths, and the number of runs at a time."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from invented_results import identity
from processes import SMALL_RUNS, Start, events, family, finish, history, suspend_within_a_run, tables, wait_until_gone
from small_runs import SMALL, SilentListener, event_names, stand_in_experiment

from fastser.experiment.executors import EXECUTORS, ExecutorError, Outcome, RunOptions, Work, automatic, processes
from fastser.experiment.executors.automatic import with_named_executor
from fastser.experiment.executors.pool import Pool
from fastser.experiment.executors.process_workers import PROGRAM, ProcessWorkers
from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.worker_config import WorkerConfig
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore
from fastser.runtime.files import cache_at

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


def test_ctrl_c_in_a_terminal_stops_all_runs_where_they_can_be_continued(
    start: Start, grid: list[str], tmp_path: Path
) -> None:
    """A terminal sends the signal to the command and to its workers."""
    process = start(*grid, *PROCESSES, *ENDLESS, "--out", tmp_path)
    keys = {record["key"] for record in islice(events(tmp_path, process), 2)}
    members = family(process.pid)
    for pid in members:
        os.kill(pid, signal.SIGINT)
    status, said, err = finish(process)
    assert (status, err) == (130, "")
    assert "saving the running runs, so that they can be continued; press again to end at once" in said
    assert re.search(rf"interrupted: 0 of {SMALL_RUNS} runs are finished .*the same command continues", said)
    assert history(tmp_path) == {key: {"started": 1, "stopped": 1} for key in keys}
    assert all((tmp_path / "checkpoints" / f"{key}.safetensors").exists() for key in keys)
    wait_until_gone(members)


def test_a_worker_ends_within_a_run_when_its_command_is_gone(stand_ins: Path, tmp_path: Path) -> None:
    """The system closes the pipes of a command that is killed."""
    settings = SMALL.override([option.removeprefix("--set=") for option in ENDLESS])
    runner = Runner(stand_in_experiment(stand_ins, settings), ResultStore(tmp_path))
    run_id = runner.experiment.identify(GridPoint("target", "cnn", "none", "F01", 1))
    with cache_at(stand_ins / "cache"):
        config = WorkerConfig.of(runner, tmp_path, 1).write()
    worker = subprocess.Popen([*PROGRAM, str(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker.stdin as requests, worker.stdout as answers:
        requests.write(json.dumps(["run", asdict(run_id.point), run_id.key]) + "\n")
        requests.flush()
        assert [json.loads(answers.readline())[0] for _ in range(3)] == ["ready", "started", "epoch"]
    assert worker.wait(120) in (0, 1)  # it notices first that its input is closed, or its output
    assert event_names(tmp_path) == ["started"]
    assert runner.store.failure(run_id.key) is None


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


def outcomes_of(script: str, workers: int, out: Path) -> Generator[Outcome, None, None]:
    """Run a pool of processes that execute a script of Python."""
    work = Work(Runner(None, ResultStore(out)), RUNS, RunOptions(), SilentListener)  # type: ignore[arg-type]
    with ProcessWorkers(Path("none"), 1, workers, [sys.executable, "-S", "-c", script]) as started:
        yield from Pool(started, work).run()
        assert started.room() == 1  # a killed process lowers it, because memory may be short


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


ONE_ANSWER = """
import os, sys
print('["ready", null]', flush=True)
sys.stdin.readline()
print(f'["failed", "{os.getpid()}"]', flush=True)
while True:
    sys.stdin.readline()
"""


@pytest.mark.fast
def test_an_executor_that_is_left_early_ends_its_workers(tmp_path: Path) -> None:
    """A second Ctrl-C raises an exception where the command waits for the next outcome."""
    outcomes = outcomes_of(ONE_ANSWER, 1, tmp_path)
    pid = int(next(outcomes).failure or "")
    assert family(pid) == {pid}
    outcomes.close()
    assert not family(pid)


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
