"""Digest of a model's state: everything that its output may depend on changes it, and nothing else does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_models import WaveformNet, make_spectrogram_net
from torch import nn

from fastser.models import MODELS, build_model
from fastser.robustness.model_state import UnknownStateError, state_digest
from fastser.settings import QUICK

pytestmark = pytest.mark.fast


class Estimator:
    """An object with a short repr, as those of scikit-learn."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __repr__(self) -> str:
        return "Estimator()"


class Holder(nn.Module):
    """A module with one plain attribute."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.held = held


def closure(factor: float) -> Callable[[float], float]:
    return lambda x: factor * x


MIDDLE = np.arange(5000.0)
MIDDLE[2500] = 7


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1.0, 2.0),
        (np.arange(5000.0), MIDDLE),
        (torch.arange(5000.0), torch.from_numpy(MIDDLE)),
        ([1, {"a": (2,)}], [1, {"a": (3,)}]),
        (Estimator(np.zeros(3)), Estimator(np.ones(3))),
        (closure(1.0), closure(2.0)),
        ({3, 1}, {1, 2}),
        (torch.relu, torch.tanh),
    ],
)
def test_another_value_is_another_state_and_an_equal_one_is_not(first: Any, second: Any) -> None:
    assert state_digest(Holder(first)) == state_digest(Holder(first)) != state_digest(Holder(second))


def test_weights_and_buffers_count_and_training_mode_does_not() -> None:
    model = make_spectrogram_net()
    before = state_digest(model)
    assert state_digest(make_spectrogram_net().train()) == before
    with torch.no_grad():
        next(model.parameters())[0] += 1e-3
    assert state_digest(model) != before
    norm = nn.BatchNorm1d(3)
    before = state_digest(norm)
    norm.running_mean += 1  # type: ignore[operator]
    assert state_digest(norm) != before


def test_an_object_in_a_circle_has_a_state() -> None:
    held: list[Any] = [1]
    held.append(held)
    assert state_digest(Holder(held))


@pytest.mark.parametrize("held", [np.array([object()]), iter([1])])
def test_a_state_that_python_does_not_show_is_refused(held: Any) -> None:
    with pytest.raises(UnknownStateError):
        state_digest(Holder(held))


@pytest.mark.parametrize("name", MODELS)
def test_fastsers_own_models_have_a_state(name: str) -> None:
    torch.manual_seed(1)
    model = build_model(name, 4, QUICK.model, 64, 32)
    assert state_digest(model) == state_digest(model)
    assert state_digest(WaveformNet())
