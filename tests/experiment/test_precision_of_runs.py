"""Precision of runs: chosen before their keys, recorded, the same on workers, printed in the plan."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import Command
from small_runs import SMALL, SilentListener, stand_in_experiment

from fastser.experiment.executors.runner import Runner
from fastser.experiment.executors.worker_config import WorkerConfig, WorkerConfigError
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore
from fastser.settings import QUICK
from fastser.training import loop, precision

PROPOSED = GridPoint("source", "proposed", "mixup", "Ses01F", 1)
CNN = GridPoint("source", "cnn", "none", "Ses01F", 1)


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return stand_in_experiment(stand_ins, SMALL)


def in_precision(experiment: Experiment, *assignments: str) -> Experiment:
    return replace(experiment, settings=experiment.settings.override(assignments))


def weights(experiment: Experiment, point: GridPoint) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in experiment.run(point).weights.values()])


@pytest.mark.parametrize(("fast", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_chosen_before_the_key_and_recorded(
    experiment: Experiment, fast: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16_fast", lambda _: fast)
    monkeypatch.setitem(precision.SMALLEST_BFLOAT16_STEP, "cpu", 1)
    auto = in_precision(experiment, "training.precision=auto")
    named = in_precision(experiment, f"training.precision={expected}")
    assert auto.settings == named.settings
    assert auto.precision == expected
    assert auto.identify(CNN) == named.identify(CNN)
    runner = Runner(auto, ResultStore(tmp_path))
    outcome = runner.run(CNN, SilentListener())
    assert outcome is not None
    assert outcome.failure is None
    text = (tmp_path / "runs" / f"{outcome.run_id.key}.json").read_text()
    metadata = json.loads(text)["metadata"]
    assert metadata["settings"]["training"]["precision"] == expected
    assert metadata["environment"]["precision"] == ("float32" if not fast else "bfloat16 in training, float32 in tests")
    assert '"auto"' not in text


def test_no_result_is_reused_in_another_precision(experiment: Experiment) -> None:
    asked = [[], ["training.precision=bfloat16"], ["evaluation.precision=bfloat16"]]
    assert len({in_precision(experiment, *assignments).identify(CNN).key for assignments in asked}) == 3


def test_a_run_in_bfloat16_repeats_bit_for_bit_and_is_not_the_one_in_float32(experiment: Experiment) -> None:
    rounded = in_precision(experiment, "training.precision=bfloat16")
    first, second, exact = (weights(one, PROPOSED) for one in (rounded, rounded, experiment))
    assert torch.equal(first, second)
    assert not torch.equal(first, exact)
    assert (first - exact).norm() < 0.05 * exact.norm()


def test_tests_and_attacks_are_in_float32_unless_asked(experiment: Experiment) -> None:
    rounded = in_precision(experiment, "evaluation.precision=bfloat16")
    exact, results = experiment.run(CNN), rounded.run(CNN)
    assert all(torch.equal(exact.weights[name], value) for name, value in results.weights.items())
    for name in ("clean", "noise-park-0db", "fgsm"):
        right, ours = exact.results[name].posteriors, results.results[name].posteriors
        assert ours.dtype == np.float32
        assert not np.array_equal(ours, right), name
        assert np.abs(ours - right).max() < 0.05, name


def test_train_chooses_the_precision_too(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = loop.loss_function
    monkeypatch.setattr(loop, "loss_function", lambda *given: asked.append(given) or real(*given))
    in_precision(experiment, "training.precision=bfloat16").run(CNN)
    assert asked == [(torch.device("cpu"), "bfloat16", None)]


def test_a_worker_with_wrong_bfloat16_says_so(
    experiment: Experiment, tmp_path: Path, stand_ins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded = in_precision(experiment, "training.precision=bfloat16")
    monkeypatch.setenv("FASTSER_CACHE", str(stand_ins / "cache"))
    (config, plain) = (
        WorkerConfig.of(Runner(one, ResultStore(tmp_path)), tmp_path, threads=torch.get_num_threads())
        for one in (rounded, experiment)
    )
    there = config.runner(threading.Event()).experiment
    assert there.identify(CNN) == rounded.identify(CNN)
    monkeypatch.setattr(precision, "first_wrong", lambda _: "the 3x3 convolution of 1 to 2 channels")
    with pytest.raises(
        WorkerConfigError, match=r"the 3x3 convolution .* wrongly in bfloat16 .* --set training\.precision=float32"
    ):
        config.runner(threading.Event())
    assert plain.runner(threading.Event()).experiment.precision == "float32"


@pytest.mark.parametrize(
    ("assignment", "described"),
    [("training.precision=bfloat16", "bfloat16 in training, float32 in tests"), ("training.precision=auto", "float32")],
)
def test_the_plan_names_the_precision(
    assignment: str, described: str, grid: list[str], command: Command, tmp_path: Path
) -> None:
    status, out, err = command(*grid, "--dry-run", f"--set={assignment}", "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    assert f"plan (quick scale, cpu, {described}):" in out


def test_quick_scale_is_trained_in_float32_on_a_cpu() -> None:
    """The numbers of the main job without a GPU do not depend on the kind of CPU."""
    assert precision.first_map_values(QUICK) < precision.SMALLEST_BFLOAT16_STEP["cpu"]
