"""The scale of the loss in float16: it follows overflows, belongs to the state, and is off in other precisions."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastser.runtime.precision import Precision
from fastser.settings import QUICK
from fastser.training.state import TrainingState

pytestmark = pytest.mark.fast


def new_state(precision: Precision = "float16") -> TrainingState:
    torch.manual_seed(0)
    return TrainingState(nn.Linear(3, 2), 2, QUICK.training, torch.device("cpu"), seed=0, precision=precision)


def loss(state: TrainingState, factor: float = 1.0) -> Tensor:
    output: Tensor = state.model(torch.ones(2, 3))
    return output.square().mean() * factor


def weights(state: TrainingState) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.model.state_dict().items()}


def scaler(state: TrainingState) -> dict[str, Any]:
    record: dict[str, Any] = state.state()[1]["scaler"]
    return record


def test_a_step_that_overflows_is_left_out_and_halves_the_scale() -> None:
    state = new_state()
    before = weights(state)
    state.update(loss(state, factor=1e36))
    torch.testing.assert_close(weights(state), before, rtol=0, atol=0)
    assert scaler(state)["scale"] == 2**15
    state.update(loss(state))
    assert not torch.equal(weights(state)["weight"], before["weight"])
    assert scaler(state)["scale"] == 2**15


def test_the_scale_does_not_change_the_step() -> None:
    scaled, plain = new_state(), new_state("float32")
    for state in (scaled, plain):
        for _ in range(3):
            state.update(loss(state))
    torch.testing.assert_close(weights(scaled), weights(plain))
    assert scaler(plain) == {}


def test_the_scale_continues_from_a_checkpoint() -> None:
    state, continued = new_state(), new_state()
    state.update(loss(state, factor=1e36))
    state.update(loss(state))
    tensors, rest = state.state()
    continued.restore({name: tensor.clone() for name, tensor in tensors.items()}, rest)
    assert scaler(continued) == scaler(state)
    for each in (state, continued):
        each.update(loss(each))
    torch.testing.assert_close(weights(continued), weights(state), rtol=0, atol=0)
