"""Estimates of the time that a plan takes."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from small_runs import SMALL, stand_in_experiment

from fastser.cli.plan_text import cost_lines
from fastser.experiment import estimate
from fastser.experiment.estimate import CostModel, Pace
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.settings import PAPER

SETTINGS = SMALL.override(["training.max_epochs=5", "attack.bim_steps=7", "noise.snr_db=0,10"])


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return stand_in_experiment(stand_ins, SETTINGS)


@pytest.mark.fast
def test_a_run_costs_its_training_steps_and_its_tests(experiment: Experiment) -> None:
    cost, source = CostModel({"cnn": Pace(100.0, 10.0, 1.0)}, 8, "cpu"), GridPoint("source", "cnn", "none", "Ses01F", 1)
    train, validation, test = (len(part.segments) for part in experiment.subsets(source))
    epochs = 5 * (100 * train + 10 * validation)
    forwards = 1 + 2 + 2  # clean, the two attacks, one scene at two SNRs
    assert cost.seconds(experiment, source) == epochs + test * (10 * forwards + (1 + 7))
    without_noise = replace(experiment, noise=None)
    assert cost.seconds(without_noise, source) == epochs + test * (10 * 3 + (1 + 7))
    cross = replace(source, task="cross", fold="all")
    train, validation, test = (len(part.segments) for part in experiment.subsets(cross))
    assert cost.seconds(experiment, cross) == 5 * (100 * train + 10 * validation) + 10 * test
    assert cost.epochs(PAPER) == 60


def test_every_pace_is_measured_on_batches_of_the_right_size(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that counts its readings makes every call last one second."""
    monkeypatch.setattr(estimate.time, "perf_counter", count().__next__)
    cost = CostModel.measure(["cnn", "proposed"], experiment, torch.device("cpu"))
    assert cost.batch == SETTINGS.training.batch_size
    pace = Pace(1 / cost.batch, 1 / cost.batch, 1 / cost.batch / estimate.ATTACK_STEPS)
    assert cost.pace == {"cnn": pace, "proposed": pace}
    assert cost.device == "cpu"


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
    assert said[-1].split()[:6] == ["all", "2", "runs,", "about", "60", "s;"]
    assert [line.split() for line in said if line.startswith("  cnn ")] == [["cnn", "2.00", "1.00", "1.50"]]


def test_the_assumptions_are_printed(lines: Callable[[dict[GridPoint, float]], list[str]]) -> None:
    said = " ".join(lines({}))
    assert "measured just now on this machine (cpu), milliseconds per segment, batches of 8" in said
    assert "extrapolated from it: 5 epochs a training (the limit)" in said
    assert "7 steps of BIM" in said
