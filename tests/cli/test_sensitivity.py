"""The sensitivity command: differences, reuse, interruption, failures, bad input."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Ended, Options, raise_when_a_run_ends, read_csv, read_runs, read_tables, run_sensitivity
from torch import nn

from fastser.evaluation.metrics import uar_of
from fastser.runtime.files import cache_at
from fastser.training.loop import train
from fastser.training.state import TrainingError

SHOWN = ["clean", "noise-0db", "noise-10db", "fgsm", "bim"]
"""Conditions of the source task that the report shows."""

RUNS = 2 * (2 * 2 + 2)
"""Runs of the options `asked`: baseline and one answer, each with two folds and across corpora, for two models."""


@pytest.fixture(scope="module")
def asked(corpora: Options) -> Options:
    return {**corpora, "questions": "bins", "models": "cnn,proposed", "folds": 2}


@pytest.fixture(scope="module")
def answered(asked: Options, stand_ins: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The results folder of a finished command, which tests do not change, and the end of the command."""
    out = tmp_path_factory.mktemp("answered")
    with cache_at(stand_ins / "cache"):
        ended = run_sensitivity(**asked, out=out)
    assert (ended.status, ended.err) == (0, "")
    return out, ended


def test_the_differences_are_those_of_the_stored_runs(answered: tuple[Path, Ended]) -> None:
    out, ended = answered
    assert f"0 reused, {RUNS} to do" in ended.out
    assert f"{RUNS} of {RUNS} runs finished" in ended.out
    runs = read_runs(out)
    assert len(runs) == RUNS

    def uar(kind: str, model: str, condition: str) -> float:
        found = [
            uar_of(run.confusions[condition])
            for run in runs
            if run.id.point.model == model
            and condition in run.confusions
            and run.metadata["settings"]["spectrogram"]["kind"] == kind
        ]
        assert len(found) == (1 if condition == "cross-corpus" else 2)
        return 100 * float(np.mean(found))

    rows = read_csv(out / "sensitivity.csv")
    assert [(row["model"], row["condition"]) for row in rows] == [
        (model, condition)
        for conditions in (SHOWN, ["cross-corpus"])
        for model in ("cnn", "proposed")
        for condition in conditions
    ]
    for row in rows:
        before, after = (uar(kind, row["model"], row["condition"]) for kind in ("log-mel", "linear"))
        written = [float(row[name]) for name in ("baseline_uar", "answer_uar", "difference")]
        assert written == pytest.approx([before, after, after - before], abs=0.0051)
        assert float(row["low"]) <= written[2] <= float(row["high"])
    assert any(float(row["difference"]) for row in rows)


def test_the_report_says_what_was_compared(answered: tuple[Path, Ended]) -> None:
    out, ended = answered
    page = (out / "sensitivity.md").read_text()
    assert page.startswith("# fastser sensitivity report (synthetic speech, quick scale)")
    for part in (
        "The largest single move is",
        "in Table 1 of the paper.",
        "## Open 1: frequency bins",
        "log-mel bands.",
    ):
        assert part in page
    assert "The largest single move is" in ended.out
    assert "frequency bins: linear frequency (open 1)" in ended.out
    assert "## Not finished" not in page
    assert (out / "sensitivity.png").stat().st_size > 10_000


def test_again_reuses_everything_and_another_question_reuses_the_baseline(
    answered: tuple[Path, Ended], asked: Options
) -> None:
    out, _ = answered
    before = read_tables(out)
    assert f"{RUNS} reused, 0 to do" in run_sensitivity(**asked, out=out).out
    assert read_tables(out) == before
    ended = run_sensitivity(**{**asked, "questions": "1,stem"}, dry_run=True, out=out)
    assert f"{RUNS} reused, 6 to do" in ended.out


def test_dry_run_shows_the_plan_and_writes_nothing(asked: Options, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = run_sensitivity(**{**asked, "questions": None}, dry_run=True, out=out)
    assert (ended.status, ended.err) == (0, "")
    assert "  baseline: 12 runs (cnn, proposed)" in ended.out
    assert "  first convolution: 3x3, stride 1 (open 12): 3 runs (proposed)" in ended.out
    assert not out.exists()


@pytest.mark.usefixtures("signals_are_not_ignored")
def test_an_interrupted_command_keeps_whole_runs_and_continues(
    asked: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**asked, "target": None, "models": "cnn", "out": tmp_path}
    with monkeypatch.context() as patch:
        raise_when_a_run_ends(patch, signal.SIGINT)
        ended = run_sensitivity(**options)
    assert (ended.status, ended.err) == (130, "")
    assert f"interrupted: 1 of 4 runs are finished and kept under {tmp_path}" in ended.out
    page = (tmp_path / "sensitivity.md").read_text()
    assert "- frequency bins: linear frequency (open 1): not run (2 runs)" in page
    assert not (tmp_path / "sensitivity.png").exists()
    ended = run_sensitivity(**options)
    assert ended.status == 0
    assert "1 reused, 3 to do" in ended.out


def test_failed_runs_of_an_answer_are_listed(asked: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_with_linear_bins(model: nn.Module, training: Any, validate: Any, settings: Any, *rest: Any) -> object:
        if settings.spectrogram.kind == "linear":
            raise TrainingError("the training loss is nan after epoch 1")
        return train(model, training, validate, settings, *rest)

    options = {**asked, "target": None, "models": "cnn", "out": tmp_path}
    with monkeypatch.context() as patch:
        patch.setattr("fastser.experiment.experiment.train", fail_with_linear_bins)
        ended = run_sensitivity(**options)
    assert (ended.status, ended.err) == (1, "")
    assert "2 of 4 runs finished" in ended.out
    page = (tmp_path / "sensitivity.md").read_text()
    assert "not run (2 runs), 2 failed" in page
    assert "the training loss is nan" in page.partition("## Failed runs")[2]
    again = run_sensitivity(**options)
    assert (again.status, "2 reused, 2 failed before" in again.out) == (1, True)
    assert run_sensitivity(**options, retry_failed=True).status == 0


def test_own_answers_are_compared_with_a_baseline_of_the_same_augmentation(asked: Options, tmp_path: Path) -> None:
    alone = {"target": None, "noise": None, "models": "cnn", "questions": "none", "vary_augmentation": "speed+mixup"}
    vary = ("training.learning_rate=1e-2", "augmentation.mixup_alpha=1 training.batch_size=8")
    ended = run_sensitivity(**{**asked, **alone}, vary=vary, out=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert "6 of 6 runs finished" in ended.out
    assert "  own answers: training.learning_rate=1e-2: 2 runs (cnn)" in ended.out
    rows = read_csv(tmp_path / "sensitivity.csv")
    assert {(row["question"], row["open"], row["augmentation"]) for row in rows} == {("own-answers", "", "speed+mixup")}
    assert [row["answer"] for row in rows] == [text for text in vary for _ in ("clean", "fgsm", "bim")]
    settings = [run.metadata["settings"] for run in read_runs(tmp_path)]
    assert sorted((s["training"]["learning_rate"], s["training"]["batch_size"]) for s in settings) == [
        *[(0.001, 8)] * 2,
        *[(0.001, 16)] * 2,
        *[(0.01, 16)] * 2,
    ]
    page = (tmp_path / "sensitivity.md").read_text()
    assert "The best of 2 own answers for CNN on" in page
    introduction = page.partition("## Own answers\n\n")[2].partition("\n")[0]
    assert introduction == (
        "The baseline's answer: training.learning_rate=0.001, augmentation.mixup_alpha=0.2, training.batch_size=16. "
        "Augmentation: speed+mixup."
    )


def test_runs_that_an_own_answer_shares_with_another_answer_are_executed_once(asked: Options, tmp_path: Path) -> None:
    options = {**asked, "target": None, "noise": None, "models": "cnn", "folds": 1}
    ended = run_sensitivity(**options, vary=("spectrogram.kind=linear",), out=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert "2 of 2 runs finished" in ended.out
    assert "\nown answers: spectrogram.kind=linear\n" not in ended.out  # no work is given to the executor
    first, second = (
        [row for row in read_csv(tmp_path / "sensitivity.csv") if row["question"] == name]
        for name in ("bins", "own-answers")
    )
    assert [row["difference"] for row in first] == [row["difference"] for row in second] != []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vary": ("training.batch_size=0",), "source": "emodb=."}, "--vary training.batch_size=0: setting"),
        (
            {"vary": ("augmentation.mixup_alpha=1",), "target": None},
            "--vary augmentation.mixup_alpha=1: makes the same runs as the baseline; leave it out, or give an augment",
        ),
        ({"questions": "none"}, "--questions none: there is nothing to compare; give --vary NAME=VALUE too"),
        ({"vary_augmentation": "mixup"}, "--vary-augmentation mixup: there is no --vary; give --vary NAME=VALUE too"),
        ({"vary_augmentation": "mixupp"}, "--vary-augmentation: there is no augmentation 'mixupp'; did you mean"),
        ({"questions": "1,2"}, "--questions: there is no question '2'; known are 1 (bins), 3 (normalisation)"),
        ({"questions": "40", "models": "cnn"}, "nothing to compare: question 40 acts on proposed only"),
        (
            {"set": ["attack.curve_eps=0.01"]},
            "--set attack.curve_eps: this study has no curve over eps; fastser.reprod",
        ),
        ({"source": None}, "give --source NAME=PATH too"),
        ({"models": "cnnn"}, "--models: there is no model 'cnnn'"),
    ],
)
def test_bad_input_gives_one_sentence(asked: Options, tmp_path: Path, changes: Options, said: str) -> None:
    ended = run_sensitivity(**{**asked, **changes}, out=tmp_path, dry_run=True)
    assert ended.status == 2
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert said in ended.err
