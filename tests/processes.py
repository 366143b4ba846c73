"""The command as a user runs it: in processes of its own, with the files and the events that it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fastser.data.corpora.synthetic import generate
from fastser.experiment import events as event_log

SMALL_SETTINGS = [
    "--set=training.max_epochs=2",
    "--set=protocol.min_validation_utterances=1",
    "--set=attack.bim_steps=2",
    "--set=spectrogram.segment_frames=64",
    "--set=spectrogram.segment_hop=64",
]
SMALL_RUNS = 3 * (2 + 2 + 1)
"""Number of runs of `small_grid`: a network and two yardsticks, on two folds each of two corpora and across corpora."""

NETWORK_RUNS = SMALL_RUNS // 3
"""Number of runs of the network, which are begun before those of yardsticks."""

Start = Callable[..., subprocess.Popen[str]]
"""Starts the command in a process of its own."""
Command = Callable[..., tuple[int, str, str]]
"""Runs the command in this process. Returns its exit status, its output and its error output."""


def small_grid(folder: Path) -> list[str]:
    """Return the arguments of a grid of `SMALL_RUNS` runs on stand-ins with one utterance per speaker and class."""
    made = generate(folder, utterances_per_class=1)
    corpora = [f"--source=iemocap={made.iemocap}", f"--target=msp-improv={made.msp_improv}"]
    noise = [f"--noise=demand={made.demand}", "--set=noise.scenes=park,kitchen", "--set=noise.snr_db=0"]
    return ["--all", "--scale=quick", "--models=cnn", "--augmentations=none", *corpora, *noise, *SMALL_SETTINGS]


def untested(arguments: Sequence[str | Path]) -> list[str]:
    """Return arguments with which the kernels compute untested, so that no result depends on times."""
    texts = [str(argument) for argument in arguments]
    return texts if any(text.startswith("--kernels") for text in texts) else [*texts, "--kernels=fused"]


def starter(cache: Path) -> Start:
    """Return a function that starts the command with its own cache on one thread.

    The function takes the arguments, a `script` to execute before the command, and environment variables.
    """

    def start(*arguments: str | Path, script: str = "", **environ: str) -> subprocess.Popen[str]:
        run = ["-c", f"{script}\nfrom fastser.reproduce import main\nmain()"] if script else ["-m", "fastser.reproduce"]
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        at_equal_priority = {"RAY_worker_niceness": "0"}  # by default Ray's workers wait for all other processes
        return subprocess.Popen(
            [sys.executable, *run, *untested(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"FASTSER_CACHE": str(cache)} | one_thread | at_equal_priority | environ,
        )

    return start


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process. Return its exit status, its output and its error output."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def tables(out: Path) -> dict[str, str]:
    """Return the text of every CSV file of a results folder, by name, but not `runs.csv`, which holds times."""
    found = {path.name: path.read_text() for path in out.glob("*.csv") if path.name != "runs.csv"}
    assert found, f"there is no table in {out}"
    return found


def events(out: Path, process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield the records of the log while the process writes them. Fail when the process ends first."""
    seen = 0
    while True:
        over = process.poll() is not None
        records = event_log.read(out / "log.jsonl")
        yield from records[seen:]
        seen = len(records)
        assert not over, process.communicate()
        time.sleep(0.02)


def suspend_within_a_run(
    out: Path, process: subprocess.Popen[str], wanted: Callable[[str], bool] = lambda _: True
) -> dict[str, Any]:
    """Suspend the first process that is found in the middle of a run. Return the record of the start of that run.

    A suspended process stays in this run until it is continued or killed.

    Args:
        out: Results folder.
        process: The command.
        wanted: Selects runs by their key.
    """
    for record in events(out, process):
        if record["event"] not in ("started", "continued") or not wanted(record["key"]):
            continue
        os.kill(record["pid"], signal.SIGSTOP)
        last = [later for later in event_log.read(out / "log.jsonl") if later["pid"] == record["pid"]][-1]
        if last == record:
            return record
        os.kill(record["pid"], signal.SIGCONT)
    raise AssertionError("no process was found within a run")


def history(out: Path) -> dict[str, Counter[str]]:
    """Return the number of events of each kind, by key of the run."""
    counts: dict[str, Counter[str]] = {}
    for record in event_log.read(out / "log.jsonl"):
        counts.setdefault(record["key"], Counter())[record["event"]] += 1
    return counts


def family(pid: int) -> set[int]:
    """Return a process and its descendants, without those that have ended."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    members = {pid} & parents.keys()
    while more := {child for child, parent in parents.items() if parent in members} - members:
        members |= more
    return members


def wait_until_gone(pids: set[int]) -> None:
    """Wait until processes have ended. Fail after two minutes."""
    deadline = time.monotonic() + 120
    while left := {pid for pid in pids if family(pid)}:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/comm").read_text() for pid in left]
        time.sleep(0.1)
