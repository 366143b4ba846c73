"""What all executors share: order, what a worker is told, the display of several workers."""

import io
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fastser.cli.console import Display
from fastser.data.corpora import read_corpus, read_noise
from fastser.data.corpora.synthetic import generate
from fastser.data.dataset import prepare, prepare_noise
from fastser.experiment.executors import Outcome, cell_of
from fastser.experiment.executors.order import longest_first
from fastser.experiment.executors.run_one import Runner
from fastser.experiment.executors.worker_config import WorkerConfig, WorkerConfigError, read_worker_config
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore, RunId
from fastser.runtime.device import named_device
from fastser.settings import QUICK
from fastser.training.loop import Epoch


def cell(model: str, repeat: int = 1, fold: str = "a") -> GridPoint:
    return GridPoint("source", model, "none", fold, repeat)


def test_longest_first_within_a_repeat_and_the_plans_order_among_equals() -> None:
    cells = [cell("cnn"), cell("densenet"), cell("proposed"), cell("proposed", fold="b"), cell("cnn", 2)]
    seconds = {cells[0]: 1.0, cells[1]: 3.0, cells[2]: 2.0, cells[3]: 2.0, cells[4]: 9.0}
    assert longest_first(cells, seconds) == [cells[1], cells[2], cells[3], cells[0], cells[4]]
    del seconds[cells[1]]
    assert longest_first(cells, seconds) == [cells[2], cells[3], cells[0], cells[1], cells[4]]


@pytest.fixture
def job(cache: Path, tmp_path: Path) -> Runner:
    stand_ins = generate(cache / "stand-ins", utterances_per_class=2)
    source = prepare(read_corpus("iemocap", stand_ins.iemocap), QUICK, speeds=(0.9, 1.1))
    target = prepare(read_corpus("msp-improv", stand_ins.msp_improv), QUICK)
    noise = prepare_noise(read_noise("demand", stand_ins.demand), QUICK)
    experiment = Experiment(QUICK, 7, source, target, noise, named_device("cpu"))
    (tmp_path / "out").mkdir()
    return Runner(
        experiment, ResultStore(tmp_path / "out"), tmp_path / "out", checkpoint_seconds=5.0, retry_failed=True
    )


def test_a_worker_maps_what_the_driver_decoded(job: Runner, cache: Path, tmp_path: Path) -> None:
    path = WorkerConfig.of(job, tmp_path / "out", 1).write()
    (cache / "stand-ins").rename(tmp_path / "gone")
    files = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    stop = threading.Event()
    there = read_worker_config(path).job(stop)
    assert {file: file.stat().st_mtime_ns for file in cache.iterdir()} == files
    assert (there.stop, there.checkpoint_seconds, there.retry_failed) == (stop, 5.0, True)
    assert there.keep_models_in == tmp_path / "out"
    here, other = job.experiment, there.experiment
    for fold in ("source", "target"):
        one = GridPoint(fold, "cnn", "speed" if fold == "source" else "none", next(iter(here.folds[fold])), 1)
        assert other.identify(one) == here.identify(one)
    assert here.source is not None
    assert other.source is not None
    assert here.noise is not None
    assert other.noise is not None
    assert isinstance(other.source.waveforms.samples, np.memmap)
    assert other.source.bank.frames.equal(here.source.bank.frames)
    assert other.source.bank.sums.equal(here.source.bank.sums)
    assert np.array_equal(other.source.waveforms.samples, here.source.waveforms.samples)
    assert np.array_equal(other.noise.waveforms.samples, here.noise.waveforms.samples)
    assert other.folds == here.folds


def test_storage_that_a_worker_does_not_see_is_named(job: Runner, cache: Path, tmp_path: Path) -> None:
    path = WorkerConfig.of(job, tmp_path / "out", 1).write()
    with pytest.raises(
        WorkerConfigError, match=r"nowhere\.json is not there on .*: --out and \$FASTSER_CACHE must lie on"
    ):
        read_worker_config(path.with_name("nowhere.json"))
    cache.rename(tmp_path / "unmounted")
    with pytest.raises(WorkerConfigError, match=r"waveforms-\w+\.f32 is not there on"):
        read_worker_config(path).job(threading.Event())


@pytest.mark.parametrize(("executor", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_one_sentence(
    executor: str, library: str, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastser.cli import main as command
    from fastser.reproduce import main

    monkeypatch.setattr(command, "find_spec", lambda name: None if name == library else object())
    monkeypatch.setattr(sys, "argv", ["fastser-reproduce", "--all", f"--executor={executor}", "--out=/nowhere"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: --executor {executor} needs the extra: pip install 'fastser[{executor}]'")
    assert said.count("\n") == 1


def test_the_display_shows_all_workers_and_counts_what_they_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("fastser.cli.console.time.monotonic", lambda: clock[0])
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    trainings = [RunId("source", name, "none", "a", 1, "EMO-DB", name) for name in ("proposed", "cnn", "densenet")]
    display = Display(3, {training.key: 100.0 for training in trainings}, 10, console)
    with display.shown():
        lanes = [display.lane(), display.lane()]
        for lane, training in zip(lanes, trainings, strict=False):
            lane.started(training)
        clock[0] = 50.0
        time.sleep(0.5)  # the bars are drawn ten times a second
        lanes[1].epoch(Epoch(5, 1.0, 0.5, 1e-3, True))
        display.finished(Outcome(trainings[0], 50.0, {}))
        assert display.time_left() == "50 s"  # 150 estimated seconds took 50, and 150 are left
        display.finished(Outcome(trainings[1], None, {}))
    assert "proposed, none, a, repeat 1" in screen.getvalue()
    assert "cnn, none, a, repeat 1" in screen.getvalue()
    assert "[2/3] EMO-DB: cnn, none, fold a, repeat 1  finished by another process" in screen.getvalue()


def test_cell_of_forgets_data_and_settings() -> None:
    assert cell_of(RunId("source", "cnn", "none", "a", 1, "EMO-DB", "key")) == cell("cnn")
