"""Checkpoint files: a state is written atomically and restored, and a damaged or foreign file is not used."""

import json
import logging
import pickle
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fastser.training import checkpoint as checkpoint_module
from fastser.training.checkpoint import Checkpoint, CheckpointError


class Counter:
    """A small state: the number of steps so far."""

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


def open_checkpoint(path: Path, key: str = "0123456789abcdef", seconds: float = 0.0) -> Checkpoint:
    return Checkpoint(path, key, torch.device("cpu"), threading.Event(), seconds)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "0123456789abcdef.safetensors"
    checkpoint, counter = open_checkpoint(path), Counter()
    checkpoint.begin(counter)
    counter.counted += 1
    checkpoint.at_boundary()
    return path


@pytest.mark.fast
def test_a_written_state_is_restored(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint, counter = open_checkpoint(kept), Counter()
    assert checkpoint.found
    checkpoint.begin(counter)
    assert not checkpoint.found
    assert counter.restored
    assert counter.counted.tolist() == [1, 1, 1]
    assert not caplog.records


def record_in(path: Path) -> dict[str, Any]:
    """Return the JSON record of a checkpoint file."""
    with safe_open(path, "pt") as file:
        record: dict[str, Any] = json.loads(file.metadata()["fastser"])
        return record


def rewritten(**changes: Any) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        tensors = {"counted": torch.ones(3)}
        text = json.dumps(record_in(path) | changes)
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
    "another key": (rewritten(key="f" * 16), "its key is ffffffffffffffff, expected 0123456789abcdef"),
    "a future format": (rewritten(format=99), "its format is 99"),
    "another torch": (rewritten(torch="9.9.9"), "its torch is 9.9.9"),
    "another device": (rewritten(device="cuda"), "its device is cuda, expected cpu"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_file_is_not_used_and_gives_one_warning(
    kept: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, reason = DAMAGES[damage]
    spoil(kept)
    counter = Counter()
    with caplog.at_level(logging.WARNING):
        checkpoint = open_checkpoint(kept)
        checkpoint.begin(counter)
    assert not checkpoint.found
    assert not counter.restored
    assert len(caplog.records) == 1
    assert f"{kept} cannot be used ({reason}" in caplog.text
    assert "the run starts from the beginning" in caplog.text


def test_a_flipped_bit_in_any_byte_is_detected(kept: Path) -> None:
    whole = kept.read_bytes()
    for place in range(len(whole)):
        flipped(place)(kept)
        assert not open_checkpoint(kept).found, place
        kept.write_bytes(whole)


def test_a_state_of_another_model_is_not_used(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter()
    counter.counted = torch.zeros(4)
    open_checkpoint(kept).begin(counter)
    assert not counter.restored
    assert "it holds another model" in caplog.text


def test_a_state_is_written_at_most_once_per_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(checkpoint_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    path = tmp_path / "checkpoints" / "a.safetensors"
    checkpoint, counter = open_checkpoint(path, seconds=180.0), Counter()
    checkpoint.begin(counter)
    written = []
    for _ in range(7):
        counter.counted += 1
        clock.now += 60.0
        checkpoint.at_boundary()
        written.append(record_in(path)["rest"]["count"] if path.exists() else 0)
    assert written == [0, 0, 3, 3, 3, 6, 6]


def test_an_unchanged_state_is_not_written_again(kept: Path) -> None:
    checkpoint, counter = open_checkpoint(kept), Counter()
    checkpoint.begin(counter)
    kept.unlink()
    checkpoint.at_boundary()
    assert not kept.exists()
    counter.counted += 1
    checkpoint.at_boundary()
    kept.unlink()
    checkpoint.at_boundary()
    assert not kept.exists()


def test_a_checkpoint_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    checkpoint = open_checkpoint(tmp_path / "checkpoints" / "a.safetensors")
    checkpoint.begin(Counter())
    with pytest.raises(CheckpointError, match=r"checkpoints/a\.safetensors cannot be written: "):
        checkpoint.at_boundary()
