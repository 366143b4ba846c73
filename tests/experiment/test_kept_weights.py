"""Weights of a run that are kept, with all that is needed to use them."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from small_runs import SMALL, SilentListener, stand_in_experiment

from fastser.data.normalisation import Normalisation
from fastser.evaluation.inference import posteriors, result_of
from fastser.experiment.executors.run_one import Runner
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.store import ResultStore
from fastser.models import build_model
from fastser.settings import Settings


@pytest.mark.fast
def test_kept_weights_and_their_metadata_give_the_recorded_posteriors_again(stand_ins: Path, tmp_path: Path) -> None:
    experiment, store = stand_in_experiment(stand_ins, SMALL), ResultStore(tmp_path)
    point = GridPoint("target", "cnn", "none", "F01", 1)
    outcome = Runner(experiment, store, keep_models=True).run(point, SilentListener())
    assert outcome is not None
    assert outcome.failure is None
    with safe_open(tmp_path / "models" / f"{outcome.run_id.key}.safetensors", "pt") as file:
        description = json.loads(file.metadata()["fastser"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    run = store.load(outcome.run_id.key)
    assert set(description) == {"run", "classes", "normalisation", "settings"}
    assert RunId.from_json(description["run"]) == experiment.identify(point) == run.id
    assert description["classes"] == run.classes == ["angry", "happy", "neutral", "sad"]
    assert Settings.model_validate(description["settings"]) == SMALL
    normalisation = Normalisation(**description["normalisation"])
    assert asdict(normalisation) == run.metadata["normalisation"]

    model = build_model("cnn", 4, SMALL.model, SMALL.spectrogram.segment_frames, SMALL.spectrogram.num_bins)
    model.load_state_dict(weights)
    test = experiment.subsets(point)[2]
    again = result_of(test, posteriors(model, test, normalisation))
    recorded = store.posteriors(run.id.key)["clean"]
    assert torch.equal(torch.from_numpy(again.posteriors), torch.from_numpy(recorded.posteriors))


def test_no_weights_are_kept_unless_asked(stand_ins: Path, tmp_path: Path) -> None:
    experiment = stand_in_experiment(stand_ins, SMALL)
    Runner(experiment, ResultStore(tmp_path)).run(GridPoint("target", "cnn", "none", "F01", 1), SilentListener())
    assert not (tmp_path / "models").exists()
