"""The Slurm executor: jobs of submitit's local executor, and stand-ins for the commands of Slurm."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from invented_results import identity, save
from processes import (
    NETWORK_RUNS,
    SMALL_RUNS,
    Command,
    Start,
    events,
    finish,
    history,
    suspend_within_a_run,
    tables,
)
from small_runs import SilentListener

pytest.importorskip("submitit", reason="the extra [slurm] is not installed")

from fastser.experiment.executors import ExecutorError, RunOptions, Work, slurm_jobs
from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.sbatch import minutes, sbatch_options, wants_gpu
from fastser.experiment.grid import RunId
from fastser.experiment.store import ResultStore

SLURM = ["--executor=slurm", "--checkpoint-minutes=0"]
LOCAL = """
from pathlib import Path
import submitit
from fastser.experiment.executors import slurm_jobs
from fastser.experiment.executors.slurm import SlurmExecutor

def submitter(folder, options):
    executor = submitit.LocalExecutor(folder)
    executor.update_parameters(timeout_min=30)
    return executor

SlurmExecutor.check = lambda self, options: None
slurm_jobs.submitter = submitter
slurm_jobs._POLL_SECONDS = 0.2
slurm_jobs.queued = lambda: {pid.name for pid in Path("/proc").glob("[0-9]*")}  # jobs are named after their processes
"""
SBATCH = """#!{python}
# Runs an array as `sbatch` would, one task after the other, without waiting for it.
import os, pathlib, re, subprocess, sys

script = pathlib.Path(sys.argv[1]).read_text()
log = pathlib.Path({log!r})
number = 100 + len(list(log.iterdir()))
(log / f"{{number}}.sh").write_text(script)
first, last = map(int, re.search("--array=(\\\\d+)-(\\\\d+)", script).groups())
run = "".join(
    f"SLURM_ARRAY_TASK_ID={{task}} SLURM_JOB_ID={{number + task}} bash {{log}}/{{number}}.sh;"
    for task in range(first, last + 1)
)
environ = os.environ | {{"SLURM_ARRAY_JOB_ID": str(number)}}
streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
subprocess.Popen(["bash", "-c", run], start_new_session=True, env=environ, **streams)
print(f"Submitted batch job {{number}}")
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do if [[ $1 == --unbuffered ]]; then shift; else shift 2; fi; done
exec "$@"
"""
SQUEUE = """#!/bin/bash
[[ "$*" == "--me --noheader --array --format=%i" ]] && seq --format=100_%g 0 1
"""


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A folder with stand-ins for Slurm's commands. It keeps the scripts that `sbatch` was given in `scripts`."""
    folder = tmp_path / "bin"
    (folder / "scripts").mkdir(parents=True)
    for name, text in (
        ("sbatch", SBATCH.format(python=sys.executable, log=str(folder / "scripts"))),
        ("srun", SRUN),
        ("squeue", SQUEUE),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def test_a_job_that_slurm_takes_back_continues_where_it_was(
    start: Start, grid: list[str], serial: dict[str, str], tmp_path: Path
) -> None:
    def is_network(key: str) -> bool:
        """Return whether a run is long enough to be stopped. The job begins with the networks."""
        jobs = [json.loads(path.read_text()) for path in (tmp_path / "slurm").glob("jobs-*.json")]
        return any(key in next(iter(keys.values()))[:NETWORK_RUNS] for keys in jobs)

    process = start(*grid, *SLURM, f"--runs-per-job={SMALL_RUNS}", "--out", tmp_path, script=LOCAL)
    victim = suspend_within_a_run(tmp_path, process, is_network)
    os.kill(victim["pid"], signal.SIGUSR2)
    os.kill(victim["pid"], signal.SIGCONT)
    status, said, err = finish(process)
    assert (status, err) == (0, "")
    assert f"{SMALL_RUNS} of {SMALL_RUNS} runs finished, 0 of them reused" in said
    assert tables(tmp_path) == serial
    counts = history(tmp_path)
    assert counts[victim["key"]] == {"started": 1, "stopped": 1, "continued": 1, "finished": 1}
    assert [of_key["finished"] for of_key in counts.values()] == [1] * SMALL_RUNS
    assert len(list((tmp_path / "slurm").glob("*_result.pkl"))) == 1


def test_one_array_is_submitted_and_found_again_by_the_next_driver(
    start: Start, grid: list[str], serial: dict[str, str], fakes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = [
        f"--slurm={text}" for text in ("partition=gpu", "time=1-12", "gres=tmp:1", "exclusive", "mem_per_cpu=2G")
    ]
    arguments = [*grid, *SLURM, *options, "--runs-per-job=8", "--cpus-per-run=1", "--out", out]
    path = f"{fakes}:{os.environ['PATH']}"
    process = start(*arguments, PATH=path)
    next(record for record in events(out, process) if record["event"] == "started")
    process.send_signal(signal.SIGINT)
    status, said, err = finish(process)
    assert (status, err) == (130, "")
    assert "the jobs stay in the queue; scancel --me --name=fastser ends them" in said

    status, said, err = finish(start(*arguments, PATH=path))
    assert (status, err) == (0, "")
    assert tables(out) == serial
    assert [of_key["finished"] for of_key in history(out).values()] == [1] * SMALL_RUNS
    (script,) = (fakes / "scripts").iterdir()
    lines = script.read_text().splitlines()
    flags = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert flags >= {
        "array=0-1%2",
        "job-name=fastser",
        "partition=gpu",
        "time=2160",
        "gres=tmp:1",
        "exclusive",
        "mem-per-cpu=2G",
        "cpus-per-task=1",
        "requeue",
        "open-mode=append",
        "signal=USR2@90",
    }
    assert "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1" in lines
    assert "export GOMP_SPINCOUNT=3000" in lines
    assert re.match(r"srun --unbuffered .* -m submitit\.core\._submit", lines[-1])
    assert (out / "slurm").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(
    shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode != 0,
    reason="no Slurm controller answers here",
)
def test_on_a_real_slurm_a_job_is_requeued_and_continues(
    start: Start, grid: list[str], serial: dict[str, str], tmp_path: Path
) -> None:
    process = start(*grid, *SLURM, "--slurm=time=30", "--runs-per-job=8", "--out", tmp_path)
    victim = next(record for record in events(tmp_path, process) if record["event"] == "started")
    (jobs,) = (tmp_path / "slurm").glob("jobs-*.json")
    (job,) = [job for job, keys in json.loads(jobs.read_text()).items() if victim["key"] in keys]
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    assert finish(process)[0] == 0
    assert tables(tmp_path) == serial
    counts = history(tmp_path)
    assert counts[victim["key"]] == {"started": 1, "stopped": 1, "continued": 1, "finished": 1}
    assert [of_key["finished"] for of_key in counts.values()] == [1] * SMALL_RUNS


def test_the_remake_of_a_finished_run_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --keep-models a finished run without weights is made again, and its failure counts."""
    store, run_id = ResultStore(tmp_path), identity()
    save(store, run_id.key)

    submitted: list[RunId] = []

    def submit(*arguments: Any) -> dict[str, list[str]]:
        submitted.extend(arguments[-1])
        for run in arguments[-1]:
            store.fail(run, "no luck", "Traceback ...", {})
        return {"1": [run.key for run in arguments[-1]]}

    replaced = {"WorkerConfig": Mock(), "submitter": Mock(), "_submit": submit, "queued": set[str]}
    waits = dict.fromkeys(("_POLL_SECONDS", "_LOOK_AT_QUEUE_SECONDS", "_VISIBLE_AFTER_SECONDS"), 0.0)
    for name, value in {**replaced, **waits}.items():
        monkeypatch.setattr(slurm_jobs, name, value)
    runner = Runner(None, store, keep_models=True)  # type: ignore[arg-type]
    for _ in range(2):
        work = Work(runner, [run_id], RunOptions(out=tmp_path, keep_models=True), SilentListener)
        assert [outcome.failure for outcome in slurm_jobs.run_as_jobs(work)] == ["no luck"]
    assert submitted == [run_id]


def test_a_machine_without_sbatch_is_named_in_one_sentence(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, err = command("--all", *SLURM, "--out", tmp_path)
    assert status == 2
    assert err == "error: --executor slurm: there is no sbatch here; run this on a login node of the cluster\n"


def test_a_dry_run_refuses_malformed_options_of_sbatch_too(command: Command, tmp_path: Path) -> None:
    status, _, err = command("--all", *SLURM, "--slurm=time=soon", "--dry-run", "--out", tmp_path)
    assert (status, err.startswith("error: --slurm time=soon: expected")) == (2, True)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("90", 90), ("90:30", 91), ("12:00:00", 720), ("2-00", 2880), ("1-12:30", 2190), ("0:00:10", 1)],
)
def test_time_limits_are_read_as_sbatch_reads_them(limit: str, expected: int) -> None:
    assert minutes(limit) == expected


@pytest.mark.parametrize("limit", ["", "two hours", "1:2:3:4", "-5"])
def test_a_wrong_time_limit_is_refused(limit: str) -> None:
    with pytest.raises(ExecutorError, match=re.escape(f"--slurm time={limit}: expected minutes")):
        minutes(limit)


def test_options_have_the_names_that_sbatch_uses() -> None:
    options = ("--gres=gpu:a100:1", "mail_user=a=b@c", "exclusive")
    assert sbatch_options(options) == {"gres": "gpu:a100:1", "mail-user": "a=b@c", "exclusive": True}
    assert wants_gpu(options)
    assert not wants_gpu(("gres=tmp:1", "partition=gpu"))


@pytest.mark.parametrize("option", ["array=0-3", "--output=x", "p=gpu", "=x", "Partition=gpu", "a b=c"])
def test_malformed_and_reserved_options_are_refused(option: str) -> None:
    with pytest.raises(ExecutorError, match=re.escape(f"--slurm {option}: ")):
        sbatch_options([option])


def test_the_message_of_sbatch_is_passed_on(
    command: Command, grid: list[str], fakes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "sbatch: unrecognized option '--partitoin=gpu'\nTry \"sbatch --help\" for more information\n"
    (fakes / "sbatch").write_text(f"#!/bin/bash\ncat >&2 <<'END'\n{said}END\nexit 1\n")
    monkeypatch.setenv("PATH", f"{fakes}:{os.environ['PATH']}")
    status, _, err = command(*grid, *SLURM, "--slurm=partitoin=gpu", "--out", tmp_path / "out")
    assert status == 2
    assert "sbatch refuses the jobs: sbatch: unrecognized option '--partitoin=gpu'" in err
    assert err.splitlines()[-1].startswith("error: ")  # submitit has printed the text of sbatch before
    assert "Traceback" not in err
