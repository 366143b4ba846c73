"""Fixtures: models that the grid has trained and tested on stand-ins, and the audio of its test sets."""

from pathlib import Path

import pytest
from kept_models import Keep, Kept
from small_runs import SMALL, SilentListener, stand_in_experiment

from fastser.experiment.executors.runner import Runner
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import ResultStore


@pytest.fixture(scope="session")
def keep(stand_ins: Path, tmp_path_factory: pytest.TempPathFactory) -> Keep:
    """A function that trains a model of the grid once for each architecture and settings."""
    made: dict[tuple[str, ...], Kept] = {}

    def kept(model: str, *settings: str) -> Kept:
        if (model, *settings) not in made:
            experiment = stand_in_experiment(stand_ins, SMALL.override(settings))
            store = ResultStore(tmp_path_factory.mktemp("kept"))
            point = GridPoint("target", model, "none", "F01", 1)
            outcome = Runner(experiment, store, keep_models=True).run(point, SilentListener())
            assert outcome is not None
            assert outcome.failure is None
            key = outcome.run_id.key
            test = experiment.subsets(point)[2]
            utterances = [test.dataset.corpus.utterances[i] for i in test.utterances]
            audio = {utterance.id: utterance.path for utterance in utterances}
            made[model, *settings] = Kept(store.weights(key), audio, store.posteriors(key)["clean"])
        return made[model, *settings]

    return kept
