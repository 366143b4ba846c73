"""Interrupted runs: wherever a run is stopped or killed, it ends in the same bits."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import count, cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_runs import SMALL, SilentListener, event_names, stand_in_experiment
from torch import Tensor

from fastser.experiment.executors.runner import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore
from fastser.training import checkpoint as checkpoint_module
from fastser.training.checkpoint import TrainingStopped

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["fastser.experiment.executors.runner"])  # the killed processes import it once

SETTINGS = SMALL.override(["training.max_epochs=3", "training.halve_after=1", "training.batch_size=16"])
PROPOSED = GridPoint("source", "proposed", "speed+mixup", "Ses01F", 1)
CNN = GridPoint("target", "cnn", "none", "M01", 2)


def make_experiment(stand_ins: Path, device: str = "cpu") -> Experiment:
    return stand_in_experiment(stand_ins, SETTINGS, speeds=(0.9, 1.1), device=device)


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return make_experiment(stand_ins)


@pytest.fixture(scope="module")
def uninterrupted(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Callable[[GridPoint], Path]:
    """A function that returns the results folder of a run without interruptions. Each run is trained once."""

    @cache
    def run(point: GridPoint) -> Path:
        out = tmp_path_factory.mktemp("uninterrupted")
        finished(Runner(experiment, ResultStore(out), out), point)
        return out

    return run


class SetAfter(threading.Event):
    """Event that counts as set after a number of queries."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def is_set(self) -> bool:
        self.times -= 1
        return self.times < 0


def finished(runner: Runner, point: GridPoint) -> None:
    """Execute a run and check that it has not failed."""
    outcome = runner.run(point, SilentListener())
    assert outcome is not None
    assert outcome.failure is None


def outcome(out: Path, key: str) -> tuple[Mapping[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Return all results that must not depend on interruptions."""
    store = ResultStore(out)
    metadata = {name: value for name, value in store.load(key).metadata.items() if not name.endswith("_seconds")}
    predictions = {name: result.posteriors for name, result in store.posteriors(key).items()}
    return metadata, predictions, load_file(out / "models" / f"{key}.safetensors")


def assert_same(first: Path, second: Path, key: str) -> None:
    (metadata, predictions, weights), (other_metadata, other_predictions, other_weights) = (
        outcome(first, key),
        outcome(second, key),
    )
    assert metadata == other_metadata
    assert predictions.keys() == other_predictions.keys()
    assert all(np.array_equal(value, other_predictions[name]) for name, value in predictions.items())
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(value, other_weights[name]) for name, value in weights.items())


def state_in(path: Path) -> dict[str, Any]:
    """Return the part of a checkpoint that is not tensors."""
    with safe_open(path, "pt") as file:
        rest: dict[str, Any] = json.loads(file.metadata()["fastser"])["rest"]
        return rest


@pytest.mark.parametrize(
    "point",
    [
        PROPOSED,
        GridPoint("target", "densenet-lstm", "none", "F01", 1),
        GridPoint("cross", "cnn-lstm", "mixup", "all", 1),
        CNN,
    ],
    ids=lambda point: point.model,
)
def test_a_run_that_is_stopped_again_and_again_ends_in_the_same_bits(
    experiment: Experiment, uninterrupted: Callable[[GridPoint], Path], point: GridPoint, tmp_path: Path
) -> None:
    check_that_stops_change_nothing(experiment, point, uninterrupted(point), tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_that_is_stopped_on_a_gpu_ends_in_the_same_bits(stand_ins: Path, tmp_path: Path) -> None:
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        experiment, once = make_experiment(stand_ins, "cuda"), tmp_path / "once"
        finished(Runner(experiment, ResultStore(once), once), PROPOSED)
        check_that_stops_change_nothing(experiment, PROPOSED, once, tmp_path / "often")
    finally:
        torch.use_deterministic_algorithms(deterministic)


def check_that_stops_change_nothing(experiment: Experiment, point: GridPoint, once: Path, often: Path) -> None:
    """Stop a run after one batch, after two more batches and so on, and compare it with the run in `once`."""
    key = experiment.identify(point).key
    store = ResultStore(often)
    seen: list[tuple[int, int]] = []
    for queries in islice(cycle((1, 2)), 200):
        try:
            finished(Runner(experiment, store, often, stop=SetAfter(queries)), point)
            break
        except TrainingStopped:
            state = state_in(store.checkpoint(key))
            seen.append((len(state["epochs"]), state["batches"]))
        if seen[-3:] == [(SETTINGS.training.max_epochs, 0)] * 3:  # the evaluation starts anew each time
            finished(Runner(experiment, store, often), point)
            break
    batches = len(experiment.subsets(point)[0].segments.split(SETTINGS.training.batch_size))
    assert seen == sorted(seen), seen
    assert any(0 < done < batches for _, done in seen), (batches, seen)
    assert any(done == batches for _, done in seen), (batches, seen)
    assert any(epochs and done == 0 for epochs, done in seen), (batches, seen)
    assert event_names(often) == [
        "started",
        "stopped",
        *["continued", "stopped"] * (len(seen) - 1),
        "continued",
        "finished",
    ]
    assert_same(once, often, key)
    assert not store.checkpoint(key).exists()
    metadata = store.load(key).metadata
    assert len(metadata["epochs"]) == SETTINGS.training.max_epochs


def run_until_killed(stand_ins: Path, out: Path, point: GridPoint, write: int, moment: str) -> None:
    """Write a checkpoint at every batch boundary, and kill this process at one of the writes.

    Args:
        stand_ins: Folder of the corpora.
        out: Results folder.
        point: Run.
        write: Number of the write in this process, from 1.
        moment: "half written" kills while the temporary file holds half of the state, "renamed" after the write.
    """
    torch.set_num_threads(1)
    atomic_write, numbers = checkpoint_module.atomic_write, count(1)

    @contextmanager
    def killing(path: Path) -> Iterator[Path]:
        last = next(numbers) == write
        with atomic_write(path) as part:
            yield part
            if last and moment == "half written":
                os.truncate(part, part.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint_module.atomic_write = killing
    Runner(make_experiment(stand_ins), ResultStore(out), out, checkpoint_seconds=0.0).run(point, SilentListener())


def test_a_run_that_is_killed_twice_ends_in_the_same_bits(
    experiment: Experiment, uninterrupted: Callable[[GridPoint], Path], stand_ins: Path, tmp_path: Path
) -> None:
    """The kills come at fixed points, so that a failure repeats: in the middle of a write, and after a write."""
    key = experiment.identify(PROPOSED).key
    store = ResultStore(tmp_path)
    reached = []
    for write, moment in ((3, "half written"), (8, "renamed")):
        arguments = (stand_ins, tmp_path, PROPOSED, write, moment)
        process = CONTEXT.Process(target=run_until_killed, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"not killed at write {write} ({moment})"
        assert not store.finished(key)
        state = state_in(store.checkpoint(key))
        reached.append((len(state["epochs"]), state["batches"]))
    assert reached[0] == (0, 2)
    assert reached[1] > reached[0]
    finished(Runner(experiment, store, tmp_path), PROPOSED)
    assert event_names(tmp_path) == ["started", "continued", "continued", "finished"]
    assert_same(uninterrupted(PROPOSED), tmp_path, key)


def test_the_times_of_all_parts_of_a_run_are_added(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A simulated clock gives each batch ten seconds, and the pause between the parts a thousand."""
    key, clock = experiment.identify(CNN).key, SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)

    class TenSeconds(SetAfter):
        def is_set(self) -> bool:
            clock.now += 10.0
            return super().is_set()

    def seconds(out: Path) -> float:
        return float(ResultStore(out).load(key).metadata["training_seconds"])

    once, twice = tmp_path / "once", tmp_path / "twice"
    finished(Runner(experiment, ResultStore(once), stop=TenSeconds(1_000)), CNN)
    with pytest.raises(TrainingStopped):
        Runner(experiment, ResultStore(twice), stop=TenSeconds(3)).run(CNN, SilentListener())
    assert state_in(ResultStore(twice).checkpoint(key))["seconds"] == 30.0
    clock.now += 1_000.0
    finished(Runner(experiment, ResultStore(twice), stop=TenSeconds(1_000)), CNN)
    assert seconds(twice) == seconds(once) > 30.0


def test_a_run_with_a_damaged_checkpoint_starts_from_the_beginning(
    experiment: Experiment,
    uninterrupted: Callable[[GridPoint], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, key = ResultStore(tmp_path), experiment.identify(CNN).key
    store.checkpoint(key).parent.mkdir()
    store.checkpoint(key).write_bytes(b"half")
    finished(Runner(experiment, store, tmp_path), CNN)
    assert event_names(tmp_path) == ["started", "finished"]
    assert len(caplog.records) == 1
    assert_same(uninterrupted(CNN), tmp_path, key)
