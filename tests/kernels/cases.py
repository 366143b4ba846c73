"""Inputs, layouts, spies and plain modules that the tests of several families share."""

from collections import OrderedDict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from fastser_kernels.registration import has_kernel
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

REGISTERED_DTYPES = [torch.float64, torch.float32, torch.bfloat16]
"""Dtypes for opcheck: one for each dtype of statistics and each size of values."""

REGISTERED = [(torch.float64, "contiguous"), (torch.float32, "channels_last"), (torch.bfloat16, "contiguous")]
"""Dtypes and layouts of maps for opcheck."""

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "sliced": lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
    "expanded": lambda x: x[:, :, :1, :1].expand(x.shape),
}
"""Layouts of maps `[N, C, T, F]` in memory; "expanded" maps repeat their first pixel."""

STANDARD, SHIFTED = {"mean": 0.0, "std": 1.0}, {"mean": -2.3, "std": 0.5}
"""Keyword arguments of `Tensor.normal_`: standard normal values, or values far to one side of zero."""

normal = pytest.mark.parametrize("normal", [STANDARD, SHIFTED], ids=["standard", "shifted"])

training_and_eval = pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def on_gpu(test: Any) -> Any:
    """Mark a test that needs a CUDA device."""
    return pytest.mark.gpu(NO_GPU(test))


def require_kernel(x: Tensor) -> None:
    """Skip a test that calls an operation itself where it does not take `x`: on a CPU without compiled kernels."""
    if not has_kernel("linf_step", x):
        pytest.skip("no compiled kernels here")


def replaced(arguments: list[Any], place: int, value: Any) -> list[Any]:
    """Return a copy of `arguments` with another `value` in one place."""
    return [*arguments[:place], value, *arguments[place + 1 :]]


def assert_refused(call: Callable[..., Any], wrong: list[tuple[Any, type[Exception], str]]) -> None:
    """Check that each call with one wrong argument raises its error with a matching sentence."""
    for arguments, error, sentence in wrong:
        with pytest.raises(error, match=sentence):
            call(*arguments)


def input_only_asked(op: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that collects `input_only` (the last argument) of every later backward operation."""
    asked: list[bool] = []
    backward = op._backward
    monkeypatch.setattr(op, "_backward", lambda *args: asked.append(args[-1]) or backward(*args))
    return asked


def bytes_kept_for_backward(run: Callable[[], Tensor], *without: Tensor) -> int:
    """Return the bytes of the tensors that autograd saves in `run`, each counted once, except those in `without`."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(kept.values()) - sum(kept.pop(tensor.data_ptr(), 0) for tensor in without)


class OperationsSeen(TorchDispatchMode):
    """List of the operations that run, "library::name", with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append((func.name(), args))
        return func(*args, **(kwargs or {}))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled as one graph, traced but not lowered."""
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def loss_after_training(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], optimizer: Callable[..., torch.optim.Optimizer]
) -> float:
    """Train for 50 steps and return the last loss."""
    steps = optimizer(model.parameters())
    for _ in range(50):
        steps.zero_grad()
        value = loss(model)
        value.backward()
        steps.step()
    return value.item()


def assert_trains_alike(
    fused: nn.Module,
    plain: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    optimizer: Callable[..., torch.optim.Optimizer],
    below: float,
) -> None:
    """Check that both learn in 50 steps from the same weights, and end at the same loss.

    The tolerances allow for rounding: 1e-4 of the loss, 1e-2 of the weights and statistics. The state dicts must load
    into each other.
    """
    plain.load_state_dict(fused.state_dict())
    losses = [loss_after_training(model, loss, optimizer) for model in (fused, plain)]
    assert losses[0] < below
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[name], value, rtol=1e-2, atol=1e-3, msg=name)
    fused.load_state_dict(plain.state_dict())
    torch.testing.assert_close(loss(fused), loss(plain))


class PlainDenseBlock(nn.Module):
    """DenseBlock from plain modules, with torchvision's names."""

    def __init__(self, in_channels: int, growth_rate: int, num_layers: int) -> None:
        super().__init__()
        for i in range(num_layers):
            channels = in_channels + i * growth_rate
            norm, conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, growth_rate, 3, padding=1, bias=False)
            layer = nn.Sequential(OrderedDict(norm=norm, relu=nn.ReLU(), conv=conv))
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


def plain_transition(in_channels: int, out_channels: int) -> nn.Module:
    """Return a transition from plain modules."""
    norm, conv = nn.BatchNorm2d(in_channels), nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(OrderedDict(norm=norm, relu=nn.ReLU(), conv=conv, pool=nn.AvgPool2d(2)))


class PlainHighway(nn.Module):
    """Highway network from plain modules."""

    def __init__(self, units: int, num_layers: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(units, units) for _ in range(num_layers))
        self.transform = nn.ModuleList(nn.Linear(units, units) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        for hidden, transform in zip(self.hidden, self.transform, strict=True):
            x = torch.lerp(x, torch.relu(hidden(x)), torch.sigmoid(transform(x)))
        return x
