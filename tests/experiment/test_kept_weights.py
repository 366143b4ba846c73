"""Weights of a run that are kept, with all that is needed to use them, and their model card."""

from pathlib import Path

import pytest
import torch
from small_runs import SMALL, SilentListener, stand_in_experiment

from fastser.evaluation.inference import posteriors, result_of
from fastser.experiment.executors.runner import Runner
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.store import ResultStore
from fastser.recognition.build import model_of
from fastser.recognition.model_file import read_model_file


@pytest.mark.fast
def test_kept_weights_and_their_metadata_give_the_recorded_posteriors_again(stand_ins: Path, tmp_path: Path) -> None:
    experiment, store = stand_in_experiment(stand_ins, SMALL), ResultStore(tmp_path)
    point = GridPoint("target", "cnn", "none", "F01", 1)
    outcome = Runner(experiment, store, keep_models=True).run(point, SilentListener())
    assert outcome is not None
    assert outcome.failure is None
    path = store.weights(outcome.run_id.key)
    description, weights = read_model_file(path)
    run = store.load(outcome.run_id.key)
    assert RunId.from_json(description.training["run"]) == experiment.identify(point) == run.id
    assert list(description.classes) == run.classes == ["angry", "happy", "neutral", "sad"]
    kept = ("audio", "spectrogram", "model", "training", "augmentation", "evaluation")
    assert all(getattr(description.settings, section) == getattr(SMALL, section) for section in kept)
    (corpus,) = description.training["corpora"]
    assert corpus["utterances"] == sum(corpus["classes"].values()) > 0
    assert "F01" not in corpus["speakers"]
    assert description.training["test_speakers"] == ["F01"]
    scores = {score["condition"]: score["uar"] for score in description.scores}
    assert scores == {name: metrics["uar"] for name, metrics in run.metrics.items()}
    assert all("low" not in score for score in description.scores)
    assert description.environment == run.metadata["environment"]

    model = model_of(path, description, weights)
    test = experiment.subsets(point)[2]
    again = result_of(test, posteriors(model, test, description.normalisation))
    recorded = store.posteriors(run.id.key)["clean"]
    assert torch.equal(torch.from_numpy(again.posteriors), torch.from_numpy(recorded.posteriors))


def test_scores_of_several_speakers_have_intervals(stand_ins: Path, tmp_path: Path) -> None:
    experiment, store = stand_in_experiment(stand_ins, SMALL), ResultStore(tmp_path)
    point = GridPoint("cross", "linear", "none", "all", 1)
    outcome = Runner(experiment, store, keep_models=True).run(point, SilentListener())
    assert outcome is not None
    path = store.weights(outcome.run_id.key)
    description, _ = read_model_file(path)
    (score,) = description.scores
    assert 0 <= score["low"] <= score["uar"] <= score["high"] <= 1
    card = path.with_suffix(".md").read_text("utf-8")
    uar, low, high = (100 * score[name] for name in ("uar", "low", "high"))
    assert f"| cross-corpus | {uar:.1f} | {low:.1f} to {high:.1f} |" in card
    for part in ("Linear (yardstick of whole utterances)", "synthetic IEMOCAP", "speakers who were tested", "not for"):
        assert part in card


def test_no_weights_are_kept_unless_asked(stand_ins: Path, tmp_path: Path) -> None:
    experiment = stand_in_experiment(stand_ins, SMALL)
    Runner(experiment, ResultStore(tmp_path)).run(GridPoint("target", "cnn", "none", "F01", 1), SilentListener())
    assert not (tmp_path / "models").exists()
