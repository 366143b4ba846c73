"""The command in processes of its own: killed, and shared by two processes."""

import os
import re
import signal
from pathlib import Path

from processes import SMALL_RUNS, Start, events, finish, suspend_within_a_run, tables


def test_killed_within_a_run_it_ends_in_the_same_tables(
    start: Start, grid: list[str], serial: dict[str, str], tmp_path: Path
) -> None:
    process = start(*grid, "--executor=serial", "--out", tmp_path)
    assert process.stdout is not None
    while not process.stdout.readline().startswith(f"[2/{SMALL_RUNS}]"):
        assert process.poll() is None
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    done = len(list((tmp_path / "runs").glob("*.json")))
    assert 2 <= done < SMALL_RUNS

    status, said, err = finish(start(*grid, "--executor=serial", "--out", tmp_path))
    assert status == 0, err
    assert f"{done} reused, {SMALL_RUNS - done} to do" in said
    assert tables(tmp_path) == serial
    assert not list(tmp_path.rglob("*.part"))


def test_two_processes_share_one_folder(start: Start, grid: list[str], serial: dict[str, str], tmp_path: Path) -> None:
    """The first process is held within a run until the second one has done all others."""
    first = start(*grid, "--executor=serial", "--out", tmp_path)
    held = suspend_within_a_run(tmp_path, first)
    second = start(*grid, "--executor=serial", "--out", tmp_path)
    done = len(list((tmp_path / "runs").glob("*.json")))
    for record in events(tmp_path, second):
        done += record["event"] == "finished" and record["pid"] == second.pid
        if done == SMALL_RUNS - 1:
            break
    os.kill(held["pid"], signal.SIGCONT)
    outcomes = [finish(process) for process in (first, second)]
    assert [status for status, *_ in outcomes] == [0, 0], [err for *_, err in outcomes]
    run_here = [len(re.findall(r"^\[.*\d s\); ", out, re.MULTILINE)) for _, out, _ in outcomes]
    assert sum(run_here) == SMALL_RUNS
    assert min(run_here) > 0
    assert tables(tmp_path) == serial
    assert not list(tmp_path.rglob("*.part"))
