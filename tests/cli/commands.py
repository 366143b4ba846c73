"""The command in the test's own process, on small corpora, and what it leaves behind."""

import csv
import io
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fastser.cli.options import CliOptions
from fastser.cli.run_display import Display
from fastser.cli.sensitivity_options import SensitivityOptions
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import Run
from fastser.reproduce import reproduce
from fastser.sensitivity import sensitivity
from fastser.training.yardsticks import YARDSTICKS

RATE = 16_000
TINY = (
    "protocol.min_validation_utterances=1",
    "training.max_epochs=1",
    "attack.bim_steps=1",
    "noise.snr_db=0,10",
    "noise.scenes=park,kitchen",
    "model.layers_per_block=1",
    "spectrogram.num_bins=32",
    "spectrogram.segment_frames=64",
    "spectrogram.segment_hop=64",
)
"""Settings of the cheapest runs."""

Options = dict[str, Any]
USUAL: Options = {"executor": "serial", "kernels": "fused"}
ONE_RUN: Options = {"table": ("3",), "scale": "quick", "models": "cnn", "augmentations": "none", "folds": 1}
"""Options of one run of a network on the source, and of one run of each yardstick beside it."""

RUNS = 1 + len(YARDSTICKS)
"""Number of runs of the options `ONE_RUN`."""


@dataclass(frozen=True)
class Ended:
    """The command after its end: exit status, output and error output."""

    status: int
    out: str
    err: str


def run_command(set: Sequence[str] = (), **options: Any) -> Ended:
    """Run the command with options, in this process, and with the settings of `TINY` before those of `set`.

    Without another choice the kernels compute untested, so that no result depends on times.
    """
    return _ended(lambda: reproduce(CliOptions(set=(*TINY, *set), **USUAL | options)))


def run_sensitivity(set: Sequence[str] = (), **options: Any) -> Ended:
    """Run the sensitivity command, as `run_command` runs the main one."""
    return _ended(lambda: sensitivity(SensitivityOptions(set=(*TINY, *set), **USUAL | options)))


def _ended(run: Callable[[], int]) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run()
    return Ended(status, out.getvalue(), err.getvalue())


def snapshot(out: Path) -> dict[str, tuple[int, int]]:
    """Return time of the last change and size of every file and folder of a results folder, itself included."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in (out, *out.rglob("*"))}


def read_runs(out: Path) -> list[Run]:
    """Return the finished runs of a results folder, sorted by key."""
    store = ResultStore(out)
    keys = sorted(path.stem for path in (out / "runs").glob("*.npz"))
    return [store.load(key) for key in keys]


def network_runs(out: Path) -> list[Run]:
    """Return the finished runs of a results folder that are no yardsticks', sorted by key."""
    return [run for run in read_runs(out) if run.id.point.model not in YARDSTICKS]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_tables(out: Path) -> dict[str, str]:
    """Return the text of every CSV file of a results folder, by name, but not `runs.csv`, which holds times."""
    return {path.name: path.read_text() for path in sorted(out.glob("*.csv")) if path.name != "runs.csv"}


def write_noise(path: Path, seed: int, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, int(RATE * seconds)), RATE)


def write_manifest(path: Path, emotions: Iterable[str], speakers: int = 4, takes: int = 2) -> Path:
    """Write a manifest and, in the folder `wav` beside it, half a second of noise for each of its lines."""
    lines = ["path,speaker,emotion"]
    for speaker in range(speakers):
        for emotion in emotions:
            for take in range(takes):
                name = f"wav/{speaker}-{emotion.replace(' ', '-')}-{take}.wav"
                write_noise(path.parent / name, 100 * speaker + len(lines))
                lines.append(f"{name},s{speaker},{emotion}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_emodb(path: Path, letters: Mapping[str, str]) -> Path:
    """Write three speakers with two utterances of each letter of EMO-DB's file names."""
    for number, speaker in enumerate(("03", "08", "11")):
        for index, letter in enumerate(letters):
            for text in ("a01", "b02"):
                write_noise(path / "wav" / f"{speaker}{text}{letter}a.wav", 100 * number + index + 50 * (text == "b02"))
    return path


def raise_when_a_run_ends(monkeypatch: pytest.MonkeyPatch, *signals: signal.Signals) -> None:
    """Send signals to this process when the first run ends, each after the one before has been handled.

    Python handles a signal some instructions later if other threads run, and two pending signals as one.
    """
    finished = Display.finished

    def interrupted(display: Display, outcome: Any) -> None:
        finished(display, outcome)
        for number in signals:
            handler = signal.getsignal(number)
            signal.raise_signal(number)
            while signal.getsignal(number) is handler:  # handled, it restores another handler or raises
                time.sleep(0.001)

    monkeypatch.setattr(Display, "finished", interrupted)
