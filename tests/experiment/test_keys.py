"""Keys of runs: they follow everything that the numbers depend on, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SMALL, stand_in_experiment

from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.settings import Settings

POINT = GridPoint("source", "cnn", "none", "Ses01F", 1)


@pytest.fixture(scope="module")
def experiment(stand_ins: Path) -> Experiment:
    return stand_in_experiment(stand_ins, SMALL)


def key(experiment: Experiment, point: GridPoint = POINT, set: str | None = None, **changes: Any) -> str:
    """Return the key of a run after changes of a setting and of the experiment."""
    settings: Settings = experiment.settings.override([set] if set else [])
    return replace(experiment, settings=settings, **changes).identify(point).key


@pytest.mark.fast
def test_a_key_follows_what_the_result_depends_on(experiment: Experiment) -> None:
    source = experiment.dataset("source")
    keys = [
        key(experiment),
        key(experiment, seed=1),
        key(experiment, use_reference=True),
        key(experiment, noise=None),
        key(experiment, source=replace(source, key="another corpus")),
        key(experiment, set="training.batch_size=9"),
        key(experiment, set="spectrogram.kind=linear"),
        key(experiment, set="model.dropout=0.4"),
        key(experiment, set="attack.eps=0.1"),
        key(experiment, set="noise.snr_db=5"),
        key(experiment, replace(POINT, repeat=2)),
        key(experiment, replace(POINT, model="proposed")),
        key(experiment, replace(POINT, fold="Ses01M")),
        key(experiment, replace(POINT, augmentation="mixup")),
    ]
    assert len(set(keys)) == len(keys)


def test_a_key_does_not_follow_what_the_result_does_not_depend_on(experiment: Experiment) -> None:
    assert key(experiment) == key(experiment)
    assert key(experiment) == key(experiment, set="protocol.repeats=9") == key(experiment, set="protocol.folds=5")
    assert key(experiment) == key(experiment, device=torch.device("meta"), target=None)


@pytest.mark.parametrize(
    ("setting", "using", "not_using"),
    [
        ("augmentation.mixup_alpha=0.3", replace(POINT, augmentation="mixup"), POINT),
        ("augmentation.speed_factors=0.8", replace(POINT, augmentation="speed"), POINT),
        ("attack.bim_steps=7", POINT, replace(POINT, task="target")),
        ("noise.scenes=park,kitchen", POINT, replace(POINT, task="target")),
        ("protocol.cross_corpus_validation=0.4", replace(POINT, task="cross", fold="all"), POINT),
    ],
)
def test_a_setting_is_in_the_keys_of_the_runs_that_use_it(
    experiment: Experiment, setting: str, using: GridPoint, not_using: GridPoint
) -> None:
    assert key(experiment, using) != key(experiment, using, setting)
    assert key(experiment, not_using) == key(experiment, not_using, setting)
