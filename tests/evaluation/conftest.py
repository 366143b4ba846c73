"""Fixtures of the tests of evaluation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from trials import Pooled, Prepared

from fastser.data.corpora import read_corpus, read_noise
from fastser.data.corpora.synthetic import generate
from fastser.data.dataset import prepare, prepare_noise
from fastser.data.normalisation import Normalisation
from fastser.evaluation.trial import Trial
from fastser.runtime.files import cache_at
from fastser.settings import QUICK


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    settings = QUICK.override(["attack.bim_steps=3", "noise.scenes=park,kitchen,traffic"])
    folder = tmp_path_factory.mktemp("stand-ins")
    with cache_at(folder / "cache"):
        stand_ins = generate(folder, utterances_per_class=1)
        dataset = prepare(read_corpus("iemocap", stand_ins.iemocap), settings)
        noise = prepare_noise(read_noise("demand", stand_ins.demand), settings)
    return Prepared(settings, dataset, noise, Normalisation(-30.0, 15.0), dataset.subset(range(8)))


@pytest.fixture
def model() -> Pooled:
    torch.manual_seed(7)
    return Pooled().eval()


@pytest.fixture
def trial(prepared: Prepared, model: Pooled) -> Callable[..., Trial]:
    """Make a trial of the model. Keyword arguments replace the usual fields."""

    def make(**fields: Any) -> Trial:
        usual = {
            "model": model,
            "test": prepared.test,
            "settings": prepared.settings,
            "normalisation": prepared.normalisation,
            "noise": prepared.noise,
            "noise_seed": 5,
        }
        return Trial(**usual | fields)

    return make
