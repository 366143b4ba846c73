"""`python -m benchmarks.epoch_choice`: records equal to the grid's runs, rules, a page that grows."""

import csv
import multiprocessing
import threading
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from scipy import stats
from sklearn.metrics import log_loss
from small_runs import SMALL, stand_in_experiment

from benchmarks import epoch_choice
from benchmarks.epoch_record import EpochScores, RunRecord, cross_entropy, record_run, without_early_end
from benchmarks.epoch_rules import RULES, Choice, median_correlation
from benchmarks.recorded_runs import run_workers
from benchmarks.speaker_means import mean_over_speakers
from fastser.data.corpora.synthetic import generate
from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.settings import Settings, TrainingSettings
from fastser.training.state import TrainingError

POINT = GridPoint("source", "cnn", "none", "Ses01F", 1)
SETTINGS = SMALL.override(
    ["training.max_epochs=8", "training.halve_after=1", "training.stop_after=2", "training.batch_size=8"]
)
SCALE, ACCURACY, UAR, LOSS, LAST, ORACLE = RULES


def record_of(
    uar: list[float], test: list[float], *, accuracy: list[float] | None = None, fold: str = "a", repeat: int = 1
) -> RunRecord:
    """Return a record whose validation loss is lowest in its second epoch."""
    losses = [abs(epoch - 1.0) for epoch in range(len(uar))]
    scores = zip(losses, accuracy or uar, uar, losses, test, strict=True)
    return RunRecord(replace(POINT, fold=fold, repeat=repeat), 12, 40, tuple(EpochScores(*values) for values in scores))


def experiment_with(experiment: Experiment, settings: Settings) -> Experiment:
    """Return an experiment without noise, so that only clean speech and attacks are tested."""
    return replace(experiment, settings=settings, noise=None)


def test_records_are_those_of_the_grid(stand_ins: Path, tmp_path: Path) -> None:
    early = experiment_with(stand_in_experiment(stand_ins, SETTINGS), SETTINGS)
    whole = experiment_with(early, without_early_end(SETTINGS))
    record = record_run(whole, POINT)
    untested, grid = whole.run(POINT), early.run(POINT)
    assert [(epoch.training_loss, epoch.accuracy) for epoch in record.epochs] == [
        (epoch["loss"], epoch["score"]) for epoch in untested.metadata["epochs"]
    ]
    assert len(record.epochs) == 8 > len(grid.metadata["epochs"])
    chosen = Choice.of(record, SCALE, SETTINGS.training)
    assert chosen.epoch == grid.metadata["kept_epoch"]
    assert chosen.uar == 100 * grid.results["clean"].uar
    assert (record.validation_utterances, record.test_utterances) == (4, 4)
    record.write(tmp_path / "record.json")
    assert RunRecord.read(tmp_path / "record.json") == record


@pytest.mark.fast
def test_rules_choose_their_epoch() -> None:
    record = record_of(
        uar=[0.3, 0.5, 0.5, 0.4, 0.4, 0.6], accuracy=[0.3, 0.4, 0.7, 0.4, 0.7, 0.5], test=[0.2, 0.4, 0.3, 0.9, 0.9, 0.5]
    )
    by_uar = TrainingSettings(monitor="uar", stop_after=3)
    assert [rule.choose(record, by_uar) for rule in (SCALE, ACCURACY, UAR, LOSS, LAST, ORACLE)] == [2, 3, 6, 2, 6, 4]
    assert SCALE.choose(record, TrainingSettings(monitor="uar", stop_after=4)) == 6
    assert SCALE.choose(record, TrainingSettings(monitor="accuracy", stop_after=3)) == 3


@pytest.mark.fast
@pytest.mark.parametrize(("chosen", "bad_by"), [(0.701, []), (0.7, []), (0.699, [5]), (0.65, [5]), (0.649, [5, 10])])
def test_a_bad_epoch_is_below_the_median_of_the_last_ten(chosen: float, bad_by: list[int]) -> None:
    last = [0.75, 0.7, 0.8, 0.75, 0.9, 0.6, 0.75, 0.75, 0.2, 0.95]
    choice = Choice.of(record_of(uar=[0.9] + [0.5] * 11, test=[chosen, 0.0, *last]), UAR, TrainingSettings())
    assert (choice.epoch, choice.typical, choice.oracle) == (1, 75, 95)
    assert [points for points in (5, 10) if choice.is_bad(points)] == bad_by


@pytest.mark.fast
def test_the_interval_is_that_of_a_t_test_over_speakers() -> None:
    uar = np.random.default_rng(0).uniform(size=(4, 3))
    records = [
        record_of([0.5], [value], fold=fold, repeat=repeat)
        for fold, values in zip("abcd", uar, strict=True)
        for repeat, value in enumerate(values)
    ]
    choices = [Choice.of(record, LAST, TrainingSettings()) for record in records]
    scores = [(choice.record.point.fold, choice.uar) for choice in choices]
    found = mean_over_speakers(scores)
    expected = stats.ttest_1samp(100 * uar.mean(axis=1), 0.0).confidence_interval(0.95)
    assert found.value == pytest.approx(100 * uar.mean())
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert mean_over_speakers(scores[:3]).interval is None


@pytest.mark.fast
def test_the_median_correlation_leaves_out_constant_scores() -> None:
    validated, tested = np.random.default_rng(0).uniform(size=(2, 3, 9)).tolist()
    records = [record_of(*pair) for pair in zip(validated, tested, strict=True)]
    by_uar = TrainingSettings(monitor="uar")
    for begin, half in ((0, False), (4, True)):
        expected = np.median([np.corrcoef(v[begin:], t[begin:])[0, 1] for v, t in zip(validated, tested, strict=True)])
        constant = record_of([0.5] * 9, tested[0])
        found = median_correlation([*records, constant], by_uar, second_half=half)
        assert found == (pytest.approx(expected), 3)
    assert median_correlation([constant], by_uar) == (None, 0)


@pytest.mark.fast
def test_the_validation_loss_is_the_log_loss() -> None:
    drawn = np.random.default_rng(0).dirichlet(np.ones(3), size=6).astype(np.float32)
    labels = np.array([0, 1, 2, 0, 1, 2])
    result = ConditionResult(drawn, labels, [*"abcdef"], ["x"] * 6)
    assert cross_entropy(result) == pytest.approx(log_loss(labels, drawn), rel=1e-5)
    certain = replace(result, posteriors=np.eye(3, dtype=np.float32)[[1] * 6])
    assert np.isfinite(cross_entropy(certain))


SMALLEST = ["protocol.min_validation_utterances=1", "training.max_epochs=2", "training.precision=float32"]
SMALLEST += ["spectrogram.num_bins=32", "spectrogram.segment_frames=64", "spectrogram.segment_hop=64"]


@pytest.fixture
def options(stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """Options of the smallest runs of two folds, with the cache that the session shares."""
    monkeypatch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))
    corpus = f"iemocap={generate(stand_ins, utterances_per_class=1).iemocap}"
    given = {"corpus": corpus, "out": tmp_path / "out", "scale": "quick", "models": "cnn", "device": "cpu"}
    return Namespace(**given, folds=None, repeats=None, set=SMALLEST)


@pytest.fixture
def arguments(options: Namespace) -> list[str]:
    """Command line of these options."""
    given = [f"--{name}={getattr(options, name)}" for name in ("corpus", "out", "scale", "models", "device")]
    return [*given, *(f"--set={assignment}" for assignment in options.set)]


def test_a_second_call_records_only_what_is_missing(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    epoch_choice.main([*arguments, "--jobs=2"])
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "0 of 2 runs are recorded already"
    assert {line.partition("] ")[2].rpartition(":")[0] for line in lines if line.startswith("[")} == {
        f"cnn, none, fold {fold}, repeat 1" for fold in ("Ses01F", "Ses03M")
    }
    first = sorted((tmp_path / "out" / "runs").glob("*.json"))
    contents = [path.read_bytes() for path in first]
    epoch_choice.main([*arguments, "--set=training.stop_after=1", "--repeats=1"])  # no record depends on the rule
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "2 of 2 runs are recorded already"
    assert not any(line.startswith("[") for line in lines)
    assert [path.read_bytes() for path in first] == contents
    page = (tmp_path / "out" / "epoch_choice.md").read_text()
    assert "2 of 2 runs." in page
    assert "n/a to" not in page
    table = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert table[2:] == [rule.title for rule in RULES]
    with (tmp_path / "out" / "epoch_choice.csv").open(newline="") as stream:
        assert "\r" not in stream.read()
        stream.seek(0)
        rows = list(csv.DictReader(stream))
    assert [(row["fold"], row["rule"]) for row in rows] == [
        (fold, rule.name) for fold in ("Ses01F", "Ses03M") for rule in RULES
    ]
    assert all(row["uar"] == row["oracle_uar"] for row in rows if row["rule"] == "oracle")


def test_failed_and_claimed_runs_are_left(
    options: Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> RunRecord:
        raise TrainingError("the training loss is nan after epoch 1")

    monkeypatch.setattr(epoch_choice, "record_run", failing)
    study = epoch_choice.EpochStudy(options)
    point, path = next(iter(study.paths.items()))
    study.record_once(point)
    assert capsys.readouterr().out.endswith(": failed: the training loss is nan after epoch 1\n")
    with FileLock(path.with_suffix(".lock")):
        study.record_once(point)
    assert capsys.readouterr().out == ""
    assert study.todo() == [*study.paths]


def test_a_worker_that_dies_is_noticed(capfd: pytest.CaptureFixture[str]) -> None:
    assert not run_workers(epoch_choice.EpochStudy, Namespace(models="no-such-model"), 1, threading.Event())
    assert "there is no model 'no-such-model'" in capfd.readouterr().err


def test_a_dead_worker_is_an_error_after_the_page(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_choice, "record_missing", lambda *_: False)
    with pytest.raises(SystemExit, match="a worker ended with an error"):
        epoch_choice.main(arguments)
    assert "0 of 2 runs." in (tmp_path / "out" / "epoch_choice.md").read_text()


def test_stopping_ends_the_workers(options: Namespace) -> None:
    stop = threading.Event()
    stop.set()
    assert run_workers(epoch_choice.EpochStudy, options, 2, stop)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--corpus=emodb", "--corpus emodb: expected NAME=PATH"),
        ("--corpus=emodb=", "--corpus emodb=: expected NAME=PATH, such as emodb=/data/EMODB"),
        ("--models=linear", "there is no model 'linear'"),
        ("--jobs=0", "--jobs 0: must be at least 1"),
        ("--set=training.stop=1", "there is no setting 'training.stop'"),
        ("--corpus=emodb=no-such-folder", "no-such-folder"),
    ],
)
def test_bad_arguments_get_one_sentence(
    given: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        epoch_choice.main(["--corpus", f"emodb={tmp_path}", "--out", str(tmp_path / "out"), "--device=cpu", given])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
