"""The parts that all executors share: order of the runs, configuration of workers, missing extras, display."""

import io
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from rich.console import Console
from small_runs import SMALL, stand_in_experiment

from fastser.cli.run_display import Display
from fastser.experiment.executors import EXECUTORS, Outcome, RunOptions
from fastser.experiment.executors import worker as worker_module
from fastser.experiment.executors.order import longest_first, makespan
from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.worker import Worker
from fastser.experiment.executors.worker_config import WorkerConfig, WorkerConfigError, read_worker_config
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.kernel_choice import Fallback, KernelChoice
from fastser.experiment.store import ResultStore
from fastser.experiment.tasks import TASKS
from fastser.runtime.files import cache_at
from fastser.training.schedule import Epoch

CHOICE = KernelChoice("auto", (Fallback("lstm", "float32", False, "slower here"),))


def invented(model: str, repeat: int = 1, fold: str = "a") -> RunId:
    return RunId(GridPoint("source", model, "none", fold, repeat), "EMO-DB", f"{model}-{repeat}-{fold}")


@pytest.mark.fast
def test_the_longest_run_of_a_repeat_comes_first_and_equal_ones_keep_their_order() -> None:
    runs = [invented("cnn"), invented("densenet"), invented("proposed"), invented("proposed", fold="b")]
    runs.append(invented("cnn", 2))
    seconds = {runs[0]: 1.0, runs[1]: 3.0, runs[2]: 2.0, runs[3]: 2.0, runs[4]: 9.0}
    assert longest_first(runs, seconds) == [runs[1], runs[2], runs[3], runs[0], runs[4]]
    del seconds[runs[1]]
    assert longest_first(runs, seconds) == [runs[2], runs[3], runs[0], runs[1], runs[4]]


@pytest.mark.fast
def test_a_worker_begins_the_next_run_as_soon_as_it_is_free() -> None:
    assert makespan([], 2) == 0.0
    assert makespan([4.0, 1.0, 1.0, 3.0], 1) == 9.0
    assert makespan([4.0, 1.0, 1.0, 3.0], 2) == 5.0
    assert makespan([4.0, 1.0], 8) == 4.0


@pytest.fixture
def runner(stand_ins: Path, tmp_path: Path) -> Runner:
    experiment = replace(stand_in_experiment(stand_ins, SMALL, speeds=(0.9, 1.1)), seed=7, kernel_choice=CHOICE)
    return Runner(
        experiment,
        ResultStore(tmp_path),
        keep_models=True,
        checkpoint_seconds=5.0,
        retry_failed=True,
    )


@contextmanager
def moved(*folders: Path) -> Iterator[None]:
    """Give folders other names for the duration of a block."""
    away = {folder: folder.with_name(f"gone-{folder.name}") for folder in folders}
    for folder, elsewhere in away.items():
        folder.rename(elsewhere)
    try:
        yield
    finally:
        for folder, elsewhere in away.items():
            elsewhere.rename(folder)


def written_config(runner: Runner, cache: Path, out: Path) -> Path:
    """Write the configuration of the runner's workers."""
    with cache_at(cache):
        return WorkerConfig.of(runner, out, 1).write()


def test_a_worker_maps_the_data_that_the_driver_has_decoded(
    runner: Runner, stand_ins: Path, cache: Path, tmp_path: Path
) -> None:
    """The worker's own cache stays unused."""
    shared, stop = stand_ins / "cache", threading.Event()
    path = written_config(runner, shared, tmp_path)
    files = {file: file.stat().st_mtime_ns for file in shared.iterdir()}
    with moved(*(folder for folder in stand_ins.iterdir() if folder != shared)):
        there = read_worker_config(path).runner(stop)
    assert {file: file.stat().st_mtime_ns for file in shared.iterdir()} == files
    assert not cache.exists()
    assert (there.stop, there.checkpoint_seconds, there.retry_failed) == (stop, 5.0, True)
    assert there.keep_models
    assert there.store.weights("key") == runner.store.weights("key")
    here, other = runner.experiment, there.experiment
    assert (other.settings, other.seed, other.device, other.kernel_choice) == (SMALL, 7, here.device, CHOICE)
    for task in TASKS:
        assert other.folds(task) == here.folds(task)
        point = GridPoint(task, "cnn", "none" if task == "target" else "speed", next(iter(here.folds(task))), 1)
        assert other.identify(point) == here.identify(point)
    for dataset, mapped in ((here.source, other.source), (here.target, other.target)):
        assert dataset is not None
        assert mapped is not None
        assert isinstance(mapped.waveforms.samples, np.memmap)
        assert mapped.bank.frames.equal(dataset.bank.frames)
        assert mapped.bank.sums.equal(dataset.bank.sums)
        assert mapped.bank.speeds == dataset.bank.speeds
        assert np.array_equal(mapped.waveforms.samples, dataset.waveforms.samples)
    assert here.noise is not None
    assert other.noise is not None
    assert np.array_equal(other.noise.waveforms.samples, here.noise.waveforms.samples)


def test_a_worker_names_a_file_of_another_version(runner: Runner, stand_ins: Path, tmp_path: Path) -> None:
    path = written_config(runner, stand_ins / "cache", tmp_path)
    values = json.loads(path.read_bytes())
    values["settings"]["training"]["setting_of_tomorrow"] = 1
    path.write_text(json.dumps(values))
    sentence = rf"^{path} cannot be read on {socket.gethostname()}, which has another version of fastser than the"
    with pytest.raises(WorkerConfigError, match=sentence):
        read_worker_config(path)


def test_a_worker_names_the_storage_that_it_does_not_see(runner: Runner, stand_ins: Path, tmp_path: Path) -> None:
    path = written_config(runner, stand_ins / "cache", tmp_path)
    missing = r"nowhere\.json is not there on .*: --out and \$FASTSER_CACHE must lie on storage"
    with pytest.raises(WorkerConfigError, match=missing):
        read_worker_config(path.with_name("nowhere.json"))
    lost = pytest.raises(WorkerConfigError, match=r"waveforms-\w+\.f32 is not there on")
    with moved(stand_ins / "cache"), lost:
        read_worker_config(path).runner(threading.Event())


@pytest.mark.fast
def test_a_worker_without_memory_for_its_data_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand more")
    monkeypatch.setattr(worker_module, "read_worker_config", Mock(side_effect=full))
    answer, sentence = Worker("nowhere", lambda kind, value: None).open()
    assert answer == "unusable"
    assert sentence.startswith("a worker cannot open its data: out of GPU memory: CUDA out of memory.")
    assert "--jobs" in sentence
    assert "\n" not in sentence


def test_a_worker_refuses_runs_of_objects_that_it_does_not_know(runner: Runner) -> None:
    worker = Worker("nowhere", lambda kind, value: None)
    worker._runner = runner
    answer, sentence = worker.run(GridPoint("target", "resnet", "none", "F01", 1), "key")
    assert answer == "unusable"
    assert sentence.startswith("there is no model 'resnet'")
    assert "--executor serial" in sentence
    answer, sentence = worker.run(GridPoint("target", "cnn", "none", "F01", 1), "key")
    assert answer == "unusable"
    assert sentence.startswith("a worker has another version of fastser than this process, or other registered cond")


@pytest.mark.parametrize(("executor", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_one_sentence(
    executor: str, library: str, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastser.experiment.executors import cluster
    from fastser.reproduce import main

    monkeypatch.setattr(cluster, "find_spec", lambda name: None if name == library else object())
    monkeypatch.setattr(sys, "argv", ["fastser-reproduce", "--all", f"--executor={executor}", "--out=/nowhere"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: --executor {executor} needs the extra: pip install 'fastser[{executor}]'")
    assert said.count("\n") == 1


def test_options_of_another_executor_are_found() -> None:
    assert RunOptions(executor="ray", gpus_per_run=1.0, cpus_per_run=2).foreign_options() == []
    assert RunOptions(executor="slurm", gpus_per_run=1.0).foreign_options() == [("--gpus-per-run", ("ray",))]
    options = RunOptions(executor="serial", cpus_per_run=2)
    assert options.foreign_options() == [("--cpus-per-run", ("processes", "ray", "slurm"))]
    assert {name: executor.in_this_process for name, executor in EXECUTORS.items()} == {
        "processes": False,
        "serial": True,
        "ray": False,
        "slurm": False,
    }


def test_the_display_shows_all_workers_and_counts_the_runs_that_they_have_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr("fastser.cli.run_display.time.monotonic", lambda: clock[0])
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    runs = [invented(name) for name in ("proposed", "cnn", "densenet")]
    display = Display(3, {run_id.key: 100.0 for run_id in runs}, 10, {"clean"}, console)
    with display.shown():
        lanes = [display.lane(), display.lane()]
        for lane, run_id in zip(lanes, runs, strict=False):
            lane.started(run_id)
        clock[0] = 50.0
        assert display._bars is not None
        display._bars.refresh()  # instead of waiting until the bars are drawn again
        lanes[1].epoch(Epoch(5, 1.0, 0.5, 1e-3, True))
        display.finished(Outcome(runs[0], 50.0, {}))
        assert display.time_left() == "50 s"  # 150 estimated seconds took 50, and 150 are left
        display.finished(Outcome(runs[1], None, {}))
    assert "proposed, none, a, repeat 1" in screen.getvalue()
    assert "cnn, none, a, repeat 1" in screen.getvalue()
    assert "[2/3] EMO-DB: cnn, none, fold a, repeat 1  finished by another process" in screen.getvalue()


@pytest.mark.parametrize(
    ("terminal", "width", "said"),
    [
        (True, 80, "clean 70.0, ..."),
        (True, 20, "clean 70.0, ..."),
        (True, 95, "clean 70.0, fgsm 20.0, bim 5.0"),
        (False, 80, "clean 70.0, fgsm 20.0, bim 5.0"),
    ],
)
def test_a_line_of_a_run_gives_the_conditions_for_which_a_terminal_has_room(
    terminal: bool, width: int, said: str
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=width)
    uars = {"clean": 0.7, "fgsm": 0.2, "bim": 0.05, "noise-0db-park": 0.5}
    results = {name: SimpleNamespace(uar=uar) for name, uar in uars.items()}
    run_id = invented("cnn")
    Display(1, {run_id.key: 1.0}, 10, {"clean", "fgsm", "bim"}, console).finished(Outcome(run_id, 14.0, results))
    line = f"[1/1] EMO-DB: cnn, none, fold a, repeat 1  {said}  (14 s); 0 s left"
    assert "".join(screen.getvalue().split()) == "".join(line.split())
