"""The command as a user runs it, in a process of its own, and what it leaves behind."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastser.experiment import events as run_events

GRID = [
    "--all",
    "--models=cnn,proposed",
    "--augmentations=none,mixup",
    "--folds=2",
    "--set=training.max_epochs=2",
    "--set=attack.bim_steps=2",
    "--set=spectrogram.segment_frames=64",
    "--set=spectrogram.segment_hop=64",
]
TRAININGS = 2 * 2 * 2 + 2 * 2 + 2 * 2
SMALL_GRID = [*GRID, "--augmentations=none"]
SMALL_TRAININGS = 2 * 2 + 2 * 2 + 2
TABLES = ["table1.csv", "table2.csv", "table2-scenes.csv", "table3.csv", "table4.csv", "figure2.csv"]

Start = Callable[..., subprocess.Popen[str]]


def starter(cache: Path) -> Start:
    """Something that starts the command with its own cache, single-threaded; `script` runs before its main function."""

    def start(*arguments: str | Path, script: str = "", **environ: str) -> subprocess.Popen[str]:
        run = ["-c", f"{script}\nfrom fastser.reproduce import main\nmain()"] if script else ["-m", "fastser.reproduce"]
        return subprocess.Popen(
            [sys.executable, *run, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"FASTSER_CACHE": str(cache), "OMP_NUM_THREADS": "1"} | environ,
        )

    return start


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def tables(out: Path) -> dict[str, str]:
    return {name: (out / name).read_text() for name in TABLES}


def events(out: Path, process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What happens to the trainings while the process runs, as it is written into the log."""
    seen = 0
    while True:
        over = process.poll() is not None
        records = run_events.read(out / "log.jsonl")
        yield from records[seen:]
        seen = len(records)
        assert not over, process.communicate()
        time.sleep(0.02)


def history(out: Path) -> dict[str, Counter[str]]:
    """How often what happened, by key."""
    counts: dict[str, Counter[str]] = {}
    for record in run_events.read(out / "log.jsonl"):
        counts.setdefault(record["key"], Counter())[record["event"]] += 1
    return counts


def family(pid: int) -> set[int]:
    """A process and its descendants."""
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
    deadline = time.monotonic() + 120
    while left := {pid for pid in pids if family(pid)}:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/comm").read_text() for pid in left]
        time.sleep(0.1)
