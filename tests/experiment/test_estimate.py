"""Estimates of the time that a plan takes."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from small_runs import SMALL, stand_in_experiment

from fastser.cli.plan_text import cost_lines
from fastser.experiment import estimate, predicted_hours
from fastser.experiment.estimate import CostModel, Pace
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.runtime.duration import format_duration
from fastser.settings import PAPER, QUICK, Settings

SETTINGS = SMALL.override(["training.max_epochs=5", "attack.bim_steps=7", "noise.snr_db=0,10"])


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return stand_in_experiment(stand_ins, SETTINGS)


@pytest.mark.fast
def test_a_run_costs_its_training_steps_and_its_tests(experiment: Experiment) -> None:
    cost, source = CostModel({"cnn": Pace(100.0, 10.0, 1.0)}, 8, "cpu"), GridPoint("source", "cnn", "none", "Ses01F", 1)
    train, validation, test = (len(part.segments) for part in experiment.subsets(source))
    epochs = 5 * (100 * train + 10 * validation)
    attacks = 1 + 7 + 2 * 7  # steps of FGSM, BIM, and BIM with two more values of eps
    forwards = 1 + 4 + 2  # clean, the four attacks, one scene at two SNRs
    assert cost.seconds(experiment, source) == epochs + test * (10 * forwards + attacks)
    without_noise = replace(experiment, noise=None)
    assert cost.seconds(without_noise, source) == epochs + test * (10 * 5 + attacks)
    cross = replace(source, task="cross", fold="all")
    train, validation, test = (len(part.segments) for part in experiment.subsets(cross))
    assert cost.seconds(experiment, cross) == 5 * (100 * train + 10 * validation) + 10 * test
    assert estimate.epochs(PAPER) == 60


def test_every_pace_is_measured_on_batches_of_the_right_size(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that counts its readings makes every call last one second."""
    monkeypatch.setattr(estimate.time, "perf_counter", count().__next__)
    cost = CostModel.measure(["cnn", "linear", "proposed"], experiment, torch.device("cpu"))
    assert cost.batch == SETTINGS.training.batch_size
    pace = Pace(1 / cost.batch, 1 / cost.batch, 1 / cost.batch / estimate.ATTACK_STEPS)
    assert cost.pace == {"cnn": pace, "proposed": pace}
    assert cost.device == "cpu"
    assert cost.seconds(experiment, GridPoint("source", "linear", "none", "Ses01F", 1)) == 0


@pytest.fixture
def lines(experiment: Experiment) -> Callable[[dict[GridPoint, float]], list[str]]:
    cost = CostModel({"cnn": Pace(0.002, 0.001, 0.0015)}, 8, "cpu")
    tables = ["table1", "table3"]

    def lines_of(seconds: dict[GridPoint, float]) -> list[str]:
        return cost_lines(experiment, tables, {experiment.identify(p): value for p, value in seconds.items()}, cost, 1)

    return lines_of


def test_shared_runs_count_in_each_table_and_once_in_all(
    lines: Callable[[dict[GridPoint, float]], list[str]],
) -> None:
    plain = GridPoint("source", "cnn", "none", "Ses01F", 1)
    said = lines({plain: 40.0, replace(plain, augmentation="mixup"): 20.0})
    assert [line.split(maxsplit=1) for line in said if line.startswith("  table")] == [
        ["table1", "1 run, about 40 s"],
        ["table3", "2 runs, about 60 s"],
    ]
    (of_all,) = (line for line in said if line.startswith("  all "))
    assert of_all.split()[:6] == ["all", "2", "runs,", "about", "60", "s;"]
    assert [line.split() for line in said if line.startswith("  cnn ")] == [["cnn", "2.00", "1.00", "1.50"]]


def test_the_assumptions_are_printed(lines: Callable[[dict[GridPoint, float]], list[str]]) -> None:
    said = " ".join(lines({}))
    assert "measured just now on this machine (cpu), milliseconds per segment, batches of 8" in said
    assert "extrapolated from it: 5 epochs a training (the limit)" in said
    assert "7 steps of BIM" in said


def _only(experiment: Experiment, settings: Settings, device: str = "cpu") -> list[str]:
    """Return the predicted lines for one run of the CNN with other settings."""
    cost = CostModel({"cnn": Pace(0.002, 0.001, 0.0015)}, 8, device)
    run_id = experiment.identify(GridPoint("source", "cnn", "none", "Ses01F", 1))
    said = cost_lines(replace(experiment, settings=settings), ["table1"], {run_id: 40.0}, cost, 1)
    return said[next((i for i, line in enumerate(said) if line.startswith("predicted")), len(said)) :]


def test_hours_on_gpus_are_predicted_for_the_sizes_of_a_scale(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The epochs may differ: they are no size of a batch."""
    paces = tmp_path / "paces.json"
    paces.write_text(json.dumps({"quick": {"slow": {"cnn": [1000, 100, 10]}, "fast": {"cnn": [100, 10, 1]}}}))
    monkeypatch.setattr(predicted_hours, "PACES", paces)
    settings = QUICK.override(["training.max_epochs=5", "protocol.min_validation_utterances=1"])
    title, head, *rows = _only(experiment, settings)
    assert title.startswith("predicted, not measured: ")
    assert head.split() == ["slow", "fast"]
    point = GridPoint("source", "cnn", "none", "Ses01F", 1)
    alike = replace(experiment, settings=settings)
    costly = CostModel({"cnn": Pace(1000.0, 100.0, 10.0)}, 8, "cpu").seconds(alike, point)
    cells = [format_duration(costly), format_duration(costly / 10)]
    assert [" ".join(row.split()) for row in rows] == [f"{name} {' '.join(cells)}" for name in ("table1", "all")]
    assert _only(experiment, settings, device="cuda") == []
    assert _only(experiment, settings.override(["training.batch_size=8"])) == []
    assert _only(experiment, settings.override(["evaluation.precision=bfloat16"])) == []


@pytest.mark.parametrize(("training_ms", "shown"), [(0.001, False), (1000.0, True)])
def test_nothing_is_predicted_for_a_grid_of_seconds(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, training_ms: float, shown: bool
) -> None:
    paces = tmp_path / "paces.json"
    cheap = {"cnn": [0.001, 0.001, 0.001]}
    paces.write_text(json.dumps({"quick": {"one": cheap, "other": {"cnn": [training_ms, 0.001, 0.001]}}}))
    monkeypatch.setattr(predicted_hours, "PACES", paces)
    settings = QUICK.override(["protocol.min_validation_utterances=1"])
    assert bool(_only(experiment, settings)) == shown


def test_nothing_is_predicted_for_a_model_without_a_prediction(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paces = tmp_path / "paces.json"
    paces.write_text(json.dumps({"quick": {"chip": {"proposed": [1, 1, 1]}}}))
    monkeypatch.setattr(predicted_hours, "PACES", paces)
    assert _only(experiment, QUICK) == []
