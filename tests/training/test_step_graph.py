"""Training steps in a CUDA graph: the same bits as without, one capture per learning rate, and the way back."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from cases import on_gpu
from torch import Tensor, nn

from fastser.runtime.cuda_graphs import CannotCapture
from fastser.settings import QUICK
from fastser.training import step_graph
from fastser.training.loss import batch_loss
from fastser.training.state import TrainingState
from fastser.training.step_graph import StepGraph

OPTIONS = QUICK.override(["training.batch_size=4"]).training


class _Recorder:
    """Stand-in for the recorder of CUDA graphs: a replay runs the captured step."""

    captured = 0
    waits = False
    refuses = False

    def __init__(self, device: torch.device) -> None:
        self.replay: Callable[[], object]

    def warm_up(self, step: Callable[[], Tensor]) -> Tensor:
        return step()

    def watch(self, step: Callable[[], Tensor]) -> Tensor:
        result = step()
        if self.waits:
            raise CannotCapture("it waits", result)
        return result

    def capture(self, step: Callable[[], Tensor]) -> Any:
        if self.refuses:
            raise CannotCapture("it cannot be captured")
        _Recorder.captured += 1
        graph = _Recorder(torch.device("cpu"))
        graph.replay = step
        return graph


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> type[_Recorder]:
    """Steps on CPU tensors take the code path of the GPU."""
    monkeypatch.setattr(step_graph, "Recorder", _Recorder)
    monkeypatch.setattr(step_graph, "has_room", lambda _: True)
    monkeypatch.setattr(_Recorder, "captured", 0)
    return _Recorder


Trained = tuple[list[Tensor], dict[str, Tensor]]
"""Losses of a training, and the weights at its end."""


def _train(device: str, *, graph: bool, mixup: bool = True) -> Trained:
    """Take eight steps with dropout, the last two at half the learning rate; return losses and weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).to(device)
    state = TrainingState(model, 8, OPTIONS, torch.device(device), seed=0)
    state.batches()

    def step(*inputs: Tensor | None) -> Tensor:
        loss = batch_loss(model, *inputs)  # type: ignore[arg-type]
        state.update(loss)
        return loss.detach()

    in_graph = StepGraph(step, torch.device(device))
    losses = []
    for number in range(8):
        rate = OPTIONS.learning_rate / (2 if number > 5 else 1)
        state._optimizer.param_groups[0]["lr"] = rate
        x, labels = torch.randn(4, 2, 3).to(device), torch.tensor([0, 1, 2, number % 3]).to(device)
        batch = (x, labels, labels.flip(0), torch.rand(4).to(device)) if mixup else (x, labels, None, None)
        losses.append((partial(in_graph, learning_rate=rate) if graph else step)(*batch).clone())
    return losses, model.state_dict()


def _assert_equal_bits(one: Trained, other: Trained) -> None:
    assert torch.equal(torch.stack(one[0]), torch.stack(other[0]))
    assert all(torch.equal(value, other[1][name]) for name, value in one[1].items())


@pytest.mark.parametrize("mixup", [True, False])
def test_replays_give_the_same_bits_with_one_capture_per_learning_rate(
    mixup: bool, without_cuda: type[_Recorder]
) -> None:
    _assert_equal_bits(_train("cpu", graph=True, mixup=mixup), _train("cpu", graph=False, mixup=mixup))
    assert without_cuda.captured == 2


@pytest.mark.parametrize(("obstacle", "reason"), [("waits", "it waits"), ("refuses", "it cannot be captured")])
def test_a_step_that_cannot_be_captured_runs_once_for_each_batch(
    obstacle: str,
    reason: str,
    without_cuda: type[_Recorder],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(without_cuda, obstacle, True)
    with caplog.at_level(logging.WARNING):
        _assert_equal_bits(_train("cpu", graph=True), _train("cpu", graph=False))
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [reason]


def test_without_room_for_a_second_copy_there_is_no_graph(
    without_cuda: type[_Recorder], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step_graph, "has_room", lambda _: False)
    _assert_equal_bits(_train("cpu", graph=True), _train("cpu", graph=False))
    assert without_cuda.captured == 0
    assert "as much memory again" in caplog.text


@pytest.mark.parametrize(("free", "room"), [(99, False), (100, True)])
def test_room_is_as_much_free_memory_as_is_in_use(free: int, room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 100)
    assert step_graph.has_room(torch.device("cuda")) is room


@on_gpu
@pytest.mark.parametrize("mixup", [True, False])
def test_replays_on_a_gpu_give_the_same_bits(mixup: bool) -> None:
    _assert_equal_bits(_train("cuda", graph=True, mixup=mixup), _train("cuda", graph=False, mixup=mixup))
