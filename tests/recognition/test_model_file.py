"""Files of weights: what is written is read again, and what cannot be read is one sentence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_models import Keep
from safetensors.torch import load_file, save_file
from small_runs import SMALL

import fastser
from fastser.evaluation.model_error import ModelError
from fastser.recognition import packaged_models
from fastser.recognition.model_file import read_model_file, write_model_file


def rewritten(file: Path, out: Path, change: dict[str, Any] | None) -> Path:
    """Copy a file of weights with other entries in its description, or without a description."""
    description, _ = read_model_file(file)
    metadata = None if change is None else {"fastser": json.dumps({**description.to_json(), **change})}
    save_file(load_file(file), out, metadata)
    return out


@pytest.mark.fast
def test_a_file_is_read_as_it_was_written(keep: Keep, tmp_path: Path) -> None:
    description, weights = read_model_file(keep("cnn").file)
    copy = tmp_path / "folder" / "copy.safetensors"
    write_model_file(copy, weights, replace(description, scores_of="Nobody."))
    read, again = read_model_file(copy)
    assert read == replace(description, scores_of="Nobody.")
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert fastser.load_model(copy).metadata == read.to_json()


def test_files_of_the_first_release_are_read(keep: Keep, tmp_path: Path) -> None:
    kept = keep("cnn")
    description, weights = read_model_file(kept.file)
    former = {
        "run": description.training["run"],
        "classes": description.classes,
        "normalisation": description.to_json()["normalisation"],
        "settings": SMALL.model_dump(mode="json"),
    }
    save_file(weights, tmp_path / "former.safetensors", {"fastser": json.dumps(former)})
    path = next(iter(kept.audio.values()))
    recogniser = fastser.load_model(tmp_path / "former.safetensors")
    assert recogniser.predict(path) == fastser.load_model(kept.file).predict(path)
    assert recogniser.metadata["training"]["augmentation"] == "none"


@pytest.mark.fast
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "fastser did not write this file"),
        ({"format": 99}, "its format is 99, this version of fastser knows 2"),
        ({"architecture": {"name": "cnn", "settings": {"new": 1}}}, "setting model.new: Extra inputs are not"),
        ({"features": {}, "normalisation": {"mean": 0}}, "its description cannot be used"),
        ({"architecture": {"name": "newer", "settings": {}}}, "do not fit the model 'newer' .there is no model"),
        ({"architecture": {"name": "densenet", "settings": {}}}, "its weights do not fit the model 'densenet'"),
        ({"architecture": {"name": "linear", "settings": {}}}, "its weights do not fit the model 'linear'"),
    ],
    ids=["foreign", "newer format", "unknown setting", "incomplete", "unknown model", "other model", "yardstick"],
)
def test_unusable_files_are_one_sentence(
    keep: Keep, tmp_path: Path, change: dict[str, Any] | None, message: str
) -> None:
    file = rewritten(keep("cnn").file, tmp_path / "changed.safetensors", change)
    with pytest.raises(ModelError, match=rf"changed\.safetensors: .*{message}"):
        fastser.load_model(file)


@pytest.mark.fast
def test_damaged_and_missing_files_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"damaged\.safetensors: cannot be read as a file of weights"):
        fastser.load_model(tmp_path / "damaged.safetensors")
    with pytest.raises(ModelError, match=r"missing\.safetensors: there is no such model"):
        fastser.load_model(tmp_path / "missing.safetensors")


@pytest.mark.fast
def test_packaged_models_are_found_by_name(keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_models, "FOLDER", tmp_path)
    with pytest.raises(ModelError, match="this installation has no packaged model; give MODEL"):
        packaged_models.default_model()
    (tmp_path / "small.safetensors").write_bytes(keep("cnn").file.read_bytes())
    assert packaged_models.default_model() == tmp_path / "small.safetensors"
    assert fastser.load_model("small").metadata == fastser.load_model(keep("cnn").file).metadata
    with pytest.raises(ModelError, match=r"big: there is no such model; .* packaged models small"):
        fastser.load_model("big")
    (tmp_path / "other.safetensors").touch()
    with pytest.raises(ModelError, match="several packaged models; give MODEL, one of other, small"):
        packaged_models.default_model()
