"""That a training stopped or killed anywhere ends in the same bits, and that no doubtful checkpoint is used."""

import json
import logging
import multiprocessing
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from jobs import Nobody, event_names, stand_in_experiment
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fastser.experiment.executors.run_one import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore
from fastser.settings import QUICK
from fastser.training import checkpoint as checkpoint_module
from fastser.training.checkpoint import Checkpoint, CheckpointError, TrainingStopped

SETTINGS = QUICK.override(
    [
        "training.max_epochs=3",
        "training.halve_after=1",
        "training.batch_size=16",
        "attack.bim_steps=1",
        "noise.snr_db=0",
        "noise.scenes=park",
        "spectrogram.segment_frames=64",
        "spectrogram.segment_hop=64",
    ]
)


def make_experiment(stand_ins: Path, device: str = "cpu") -> Experiment:
    return stand_in_experiment(stand_ins, SETTINGS, speeds=(0.9, 1.1), device=device)


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stand-ins")


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return make_experiment(stand_ins)


class Patience(threading.Event):
    """Set once it has been asked so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def is_set(self) -> bool:
        self.times -= 1
        return self.times < 0


def finished(job: Runner, cell: GridPoint) -> None:
    outcome = job.run(cell, Nobody())
    assert outcome is not None
    assert outcome.failure is None


def outcome(out: Path, key: str) -> tuple[Mapping[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Everything that must not depend on interruptions."""
    store = ResultStore(out)
    facts = {name: value for name, value in store.load(key).facts.items() if not name.endswith("_seconds")}
    said = {name: result.posteriors for name, result in store.posteriors(key).items()}
    return facts, said, load_file(out / "models" / f"{key}.safetensors")


def assert_same(first: Path, second: Path, key: str) -> None:
    (facts, said, weights), (other_facts, other_said, other_weights) = outcome(first, key), outcome(second, key)
    assert facts == other_facts
    assert said.keys() == other_said.keys()
    assert all(np.array_equal(value, other_said[name]) for name, value in said.items())
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(value, other_weights[name]) for name, value in weights.items())


def state_in(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        rest: dict[str, Any] = json.loads(file.metadata()["fastser"])["rest"]
        return rest


@pytest.mark.parametrize(
    "cell",
    [
        GridPoint("source", "proposed", "speed+mixup", "Ses01F", 1),
        GridPoint("target", "densenet-lstm", "none", "F01", 1),
        GridPoint("cross", "cnn-lstm", "mixup", "all", 1),
        GridPoint("target", "cnn", "none", "M01", 2),
    ],
    ids=lambda cell: cell.model,
)
def test_stopped_again_and_again_it_ends_in_the_same_bits(
    experiment: Experiment, cell: GridPoint, tmp_path: Path
) -> None:
    check_that_stops_change_nothing(experiment, cell, tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_stopped_again_and_again_on_a_gpu(stand_ins: Path, tmp_path: Path) -> None:
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        cell = GridPoint("source", "proposed", "speed+mixup", "Ses01F", 1)
        check_that_stops_change_nothing(make_experiment(stand_ins, "cuda"), cell, tmp_path)
    finally:
        torch.use_deterministic_algorithms(deterministic)


def check_that_stops_change_nothing(experiment: Experiment, cell: GridPoint, tmp_path: Path) -> None:
    key = experiment.identify(cell).key
    once, often = tmp_path / "once", tmp_path / "often"
    finished(Runner(experiment, ResultStore(once), once), cell)
    store = ResultStore(often)
    seen: list[tuple[int, int]] = []
    for patience in islice(cycle((1, 2)), 200):
        try:
            finished(Runner(experiment, store, often, stop=Patience(patience)), cell)
            break
        except TrainingStopped:
            state = state_in(store.checkpoint(key))
            seen.append((len(state["epochs"]), state["batches"]))
        if seen[-3:] == [(SETTINGS.training.max_epochs, 0)] * 3:  # it is in its tests, which start from their beginning
            finished(Runner(experiment, store, often), cell)
            break
    batches = len(experiment.subsets(cell)[0].segments.split(SETTINGS.training.batch_size))
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
    facts = store.load(key).facts
    assert len(facts["epochs"]) == SETTINGS.training.max_epochs


def train_keeping_every_batch(stand_ins: Path, out: Path, cell: GridPoint) -> None:
    torch.set_num_threads(1)
    Runner(make_experiment(stand_ins), ResultStore(out), out, checkpoint_seconds=0.0).run(cell, Nobody())


def test_killed_twice_it_ends_in_the_same_bits(experiment: Experiment, stand_ins: Path, tmp_path: Path) -> None:
    cell = GridPoint("cross", "proposed", "speed+mixup", "all", 1)
    key = experiment.identify(cell).key
    once, killed = tmp_path / "once", tmp_path / "killed"
    store = ResultStore(killed)
    path = store.checkpoint(key)
    for checkpoints in (3, 8):
        process = multiprocessing.get_context("spawn").Process(
            target=train_keeping_every_batch, args=(stand_ins, killed, cell)
        )
        process.start()
        versions: set[int] = {path.stat().st_ino} if path.exists() else set()
        while len(versions) < checkpoints and process.is_alive():
            if path.exists():
                versions.add(path.stat().st_mtime_ns)
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -9
        assert not store.finished(key)
    finished(Runner(experiment, store, killed), cell)
    finished(Runner(experiment, ResultStore(once), once), cell)
    assert event_names(killed) == ["started", "continued", "continued", "finished"]
    assert_same(once, killed, key)


def test_wall_time_adds_up(experiment: Experiment, tmp_path: Path) -> None:
    cell = GridPoint("target", "cnn", "none", "F01", 1)
    store, key = ResultStore(tmp_path), experiment.identify(cell).key
    with pytest.raises(TrainingStopped):
        Runner(experiment, store, stop=Patience(4)).run(cell, Nobody())
    before = state_in(store.checkpoint(key))["seconds"]
    began = time.perf_counter()
    finished(Runner(experiment, store), cell)
    rest = time.perf_counter() - began
    assert before < store.load(key).facts["training_seconds"] < before + rest


class Counter:
    """Something small to keep: it holds how often it has counted."""

    def __init__(self) -> None:
        self.counted = torch.zeros(3)
        self.restored = False

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"counted": self.counted}, {"count": int(self.counted[0])}

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        return tensors["counted"].shape == self.counted.shape

    def restore(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        self.counted = tensors["counted"]
        assert rest == {"count": int(self.counted[0])}
        self.restored = True


def opened(path: Path, key: str = "0123456789abcdef", seconds: float = 0.0) -> Checkpoint:
    return Checkpoint(path, key, torch.device("cpu"), threading.Event(), seconds)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "0123456789abcdef.safetensors"
    checkpoint, counter = opened(path), Counter()
    checkpoint.begin(counter)
    counter.counted += 1
    checkpoint.at_boundary()
    return path


def test_what_was_kept_is_given_back(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter()
    opened(kept).begin(counter)
    assert counter.restored
    assert counter.counted.tolist() == [1, 1, 1]
    assert not caplog.records


def rewritten(**changes: Any) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with safe_open(path, "pt") as file:
            record = json.loads(file.metadata()["fastser"]) | changes
        tensors = {"counted": torch.ones(3)}
        text = json.dumps(record)
        crc32 = str(checkpoint_module._crc32(text, tensors))
        save_file(tensors, path, {"fastser": text, "crc32": crc32})

    return damage


def flipped(place: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        whole = bytearray(path.read_bytes())
        whole[place] ^= 1
        path.write_bytes(whole)

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "halved": (lambda path: path.write_bytes(path.read_bytes()[:-6]), ""),
    "emptied": (lambda path: path.write_bytes(b""), ""),
    "garbled": (lambda path: path.write_bytes(b"\xff" * 300), ""),
    "pickled": (lambda path: path.write_bytes(pickle.dumps({"counted": 1})), ""),
    "saved by torch": (lambda path: torch.save({"counted": torch.ones(3)}, path), ""),
    "foreign": (lambda path: save_file({"counted": torch.ones(3)}, path), ""),
    "foreign metadata": (
        lambda path: save_file({"counted": torch.ones(3)}, path, {"fastser": "[1]", "crc32": "0"}),
        "",
    ),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), ""),
    "flipped in a tensor": (flipped(-1), "its checksum is wrong"),
    "another key": (rewritten(key="f" * 16), "its key is ffffffffffffffff, here it is 0123456789abcdef"),
    "a future format": (rewritten(format=99), "its format is 99"),
    "another torch": (rewritten(torch="9.9.9"), "its torch is 9.9.9"),
    "another device": (rewritten(device="cuda"), "its device is cuda, here it is cpu"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_doubtful_file_is_warned_of_once_and_not_used(
    kept: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, reason = DAMAGES[damage]
    spoil(kept)
    counter = Counter()
    with caplog.at_level(logging.WARNING):
        checkpoint = opened(kept)
        checkpoint.begin(counter)
    assert not checkpoint.found
    assert not counter.restored
    assert len(caplog.records) == 1
    assert f"{kept} cannot be used ({reason}" in caplog.text
    assert "the training starts anew" in caplog.text


def test_no_flipped_bit_of_the_header_is_believed(kept: Path) -> None:
    whole = kept.read_bytes()
    for place in range(len(whole)):
        flipped(place)(kept)
        assert not opened(kept).found, place
        kept.write_bytes(whole)


def test_a_file_of_another_model_is_not_used(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter()
    counter.counted = torch.zeros(4)
    opened(kept).begin(counter)
    assert not counter.restored
    assert "it holds another model" in caplog.text


def test_a_torn_checkpoint_starts_the_training_anew(
    experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cell = GridPoint("target", "cnn", "none", "F01", 1)
    key = experiment.identify(cell).key
    once, torn = tmp_path / "once", tmp_path / "torn"
    finished(Runner(experiment, ResultStore(once), once), cell)
    store = ResultStore(torn)
    store.checkpoint(key).parent.mkdir()
    store.checkpoint(key).write_bytes(b"half")
    finished(Runner(experiment, store, torn), cell)
    assert event_names(torn) == ["started", "finished"]
    assert len(caplog.records) == 1
    assert_same(once, torn, key)


def test_is_written_at_most_as_often_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(checkpoint_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    path = tmp_path / "checkpoints" / "a.safetensors"
    checkpoint, counter = opened(path, seconds=180.0), Counter()
    checkpoint.begin(counter)
    written = []
    for _ in range(7):
        counter.counted += 1
        clock.now += 60.0
        checkpoint.at_boundary()
        written.append(state_in(path)["count"] if path.exists() else 0)
    assert written == [0, 0, 3, 3, 3, 6, 6]


def test_one_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    checkpoint = opened(tmp_path / "checkpoints" / "a.safetensors")
    checkpoint.begin(Counter())
    with pytest.raises(CheckpointError, match=r"checkpoints/a\.safetensors cannot be written: "):
        checkpoint.at_boundary()
