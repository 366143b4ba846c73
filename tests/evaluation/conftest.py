"""Fixtures of the tests of evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import stand_in_experiment
from trials import Pooled, Prepared

from fastser.data.normalisation import Normalisation
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.settings import QUICK


@pytest.fixture(scope="session")
def prepared(stand_ins: Path) -> Prepared:
    settings = QUICK.override(["attack.bim_steps=3", "noise.scenes=park,kitchen,traffic"])
    experiment = stand_in_experiment(stand_ins, settings)
    assert experiment.noise is not None
    dataset = experiment.dataset("source")
    return Prepared(settings, dataset, experiment.noise, Normalisation(-30.0, 15.0), dataset.subset(range(8)))


@pytest.fixture
def model() -> Pooled:
    torch.manual_seed(7)
    return Pooled().eval()


@pytest.fixture
def trial(prepared: Prepared, model: Pooled) -> Callable[..., SegmentTrial]:
    """Make a trial of the model. Keyword arguments replace the usual fields."""

    def make(**fields: Any) -> SegmentTrial:
        usual = {
            "model": model,
            "test": prepared.test,
            "settings": prepared.settings,
            "normalisation": prepared.normalisation,
            "noise": prepared.noise,
            "noise_seed": 5,
        }
        return SegmentTrial(**usual | fields)

    return make
