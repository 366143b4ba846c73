"""The highway network on every tier."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accuracy import CAPS, assert_accurate
from fastser_kernels import highway
from fastser_kernels.highway import op, reference
from torch import Tensor
from torch.library import opcheck

from fastser.layers import Highway

Lists = list[list[Tensor]]
NAMES = ("w_h", "b_h", "w_t", "b_t")
SHAPES = [(19, 24, 3), (33, 130, 1)]
"""Rows, units, layers: less than a tile of columns, several tiles each way. Enough values that their errors average."""


def _parameters(units: int, layers: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Lists:
    """Biases of +-1 keep what the ReLUs get away from zero, where the gradient jumps, in low precision too."""
    weights = torch.randn(2, layers, units, units) * 0.1 / units**0.5
    b_h, b_t = torch.randn(layers, units).sign(), torch.randn(layers, units)
    lists = (weights[0], b_h, weights[1], b_t)
    return [[t.to(device, dtype) for t in tensors] for tensors in lists]


def _run(function: Callable[..., Tensor], x: Tensor, parameters: Lists, cotangent: Tensor) -> dict[str, Tensor]:
    """Result and gradients."""
    x = x.detach().requires_grad_()
    parameters = [[p.detach().requires_grad_() for p in tensors] for tensors in parameters]
    y = function(x, *parameters)
    gradients = torch.autograd.grad(y, [x, *chain(*parameters)], cotangent.to(y.dtype))
    names = ["grad x", *(f"grad {name}[{i}]" for name in NAMES for i in range(len(parameters[0])))]
    return {"y": y} | dict(zip(names, gradients, strict=True))


def _compare(x: Tensor, parameters: Lists, cotangent: Tensor) -> None:
    actual = _run(highway, x, parameters, cotangent)
    eager = _run(reference.highway, x, parameters, cotangent)
    doubled = [[p.double() for p in tensors] for tensors in parameters]
    exact = _run(reference.highway, x.double(), doubled, cotangent.double())
    for name, value in actual.items():  # gradients of fp32 parameters too come from features of the dtype of x
        assert_accurate(value, eager[name], exact[name], name, cap=CAPS[x.dtype])


@pytest.mark.kernel
@pytest.mark.parametrize("normal", [{"mean": 0.0, "std": 1.0}, {"mean": -2.3, "std": 0.5}], ids=["standard", "shifted"])
@pytest.mark.parametrize(("rows", "units", "layers"), SHAPES)
def test_values_and_gradients(
    rows: int, units: int, layers: int, normal: dict[str, float], dtype: torch.dtype, device: str
) -> None:
    x = torch.empty(rows, units).normal_(**normal).to(device, dtype)
    _compare(x, _parameters(units, layers, device=device), torch.randn(rows, units).to(device, dtype))


@pytest.mark.kernel
def test_parameters_of_the_dtype_of_the_features(dtype: torch.dtype, device: str) -> None:
    x, cotangent = torch.randn(2, 17, 40).to(device, dtype)
    _compare(x, _parameters(40, 2, dtype, device), cotangent)


@pytest.mark.kernel
@pytest.mark.parametrize(("rows", "units", "layers"), [(5, 6, 3), (2, 1, 2), (70, 16, 1)])
def test_small_sizes_and_ordinary_weights(rows: int, units: int, layers: int, device: str) -> None:
    x, cotangent = torch.randn(2, rows, units).to(device)
    w_h, b_h, w_t, b_t = _parameters(units, layers, device=device)
    _compare(x, [[10 * w for w in w_h], b_h, [10 * w for w in w_t], b_t], cotangent)


@pytest.mark.kernel
@pytest.mark.parametrize("of_gradient", ["transposed", "expanded"])
def test_takes_any_layout(of_gradient: str, device: str) -> None:
    x = torch.randn(6, 9).to(device).t()
    parameters = _parameters(6, 2, device=device)
    parameters[0] = [w.t() for w in parameters[0]]
    parameters[1] = [b[:1].expand(6) for b in parameters[1]]
    cotangent = {"transposed": torch.randn(6, 9).t(), "expanded": torch.randn(9, 1).expand(9, 6)}[of_gradient]
    _compare(x, parameters, cotangent.to(device))


@pytest.mark.kernel
def test_frozen_parameters_get_no_gradient(device: str) -> None:
    x, cotangent = torch.randn(2, 5, 6).to(device)
    parameters = _parameters(6, 3, device=device)
    expected = _run(reference.highway, x, parameters, cotangent)["grad x"]
    x.requires_grad_()
    (grad,) = torch.autograd.grad(highway(x, *parameters), x, cotangent)
    torch.testing.assert_close(grad, expected)
    results, hidden, gates = op._forward(x.detach(), *parameters)
    inputs = [x.detach(), *results[:-1]]
    grad, *nothing = op._backward(cotangent, inputs, hidden, gates, parameters[0], parameters[2], True)
    torch.testing.assert_close(grad, expected)
    assert nothing == [[], [], [], []]


@pytest.mark.kernel
def test_an_empty_batch_is_no_error(device: str) -> None:
    gradients = _run(highway, torch.empty(0, 6, device=device), _parameters(6, 2, device=device), torch.empty(0, 6))
    assert gradients["y"].shape == (0, 6)
    assert (gradients["grad w_h[0]"] == 0).all()


class EagerHighway(Highway):
    """The same module on plain PyTorch."""

    def forward(self, x: Tensor) -> Tensor:
        for hidden, transform in zip(self.hidden, self.transform, strict=True):
            x = torch.lerp(x, F.relu(hidden(x)), torch.sigmoid(transform(x)))
        return x


@pytest.mark.kernel
def test_training_ends_at_the_loss_of_plain_pytorch(device: str) -> None:
    """50 steps of Adam from the same weights; 1e-4 of the loss is what rounding makes of it."""
    x, target = torch.randn(2, 16, 12).to(device)
    fused, eager = Highway(12, 3).to(device), EagerHighway(12, 3).to(device)
    eager.load_state_dict(fused.state_dict())
    losses = []
    for module in (fused, eager):
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        for _ in range(50):
            loss = F.mse_loss(module(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] < 0.7 * F.mse_loss(x, target).item()
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    fused.load_state_dict(eager.state_dict())
    torch.testing.assert_close(fused(x), eager(x))


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
@pytest.mark.parametrize("rows", [64, 4096])
def test_at_real_size_values_hold_and_bits_repeat(rows: int, dtype: torch.dtype, device: str) -> None:
    x, cotangent = torch.randn(2, rows, 128).to(device, dtype)
    parameters = _parameters(128, 3, device=device)
    _compare(x, parameters, cotangent)
    first, second = (_run(highway, x, parameters, cotangent) for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("parameter_dtype", ["own", "float32"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_operations_are_registered_rightly(dtype: torch.dtype, parameter_dtype: str) -> None:
    x, grad = torch.randn(2, 5, 6, dtype=dtype)
    parameters = _parameters(6, 2, dtype if parameter_dtype == "own" else torch.float32)
    operations = torch.ops.fastser_kernels
    opcheck(operations.highway_forward.default, (x, *parameters))
    results, hidden, gates = operations.highway_forward.default(x, *parameters)
    saved = [x, *results[:-1]], hidden, gates, parameters[0], parameters[2]
    for input_only in (True, False):
        opcheck(operations.highway_backward.default, (grad, *saved, input_only))


def test_gradients_in_float64() -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    parameters = [p.requires_grad_() for p in chain(*_parameters(4, 2, torch.float64))]

    def network(x: Tensor, *parameters: Tensor) -> Tensor:
        return highway(x, *(list(parameters[i : i + 2]) for i in range(0, 8, 2)))

    assert torch.autograd.gradcheck(network, (x, *parameters))


def test_compiles_without_a_graph_break() -> None:
    x, cotangent = torch.randn(2, 5, 6)
    parameters = _parameters(6, 3)
    compiled: Any = torch.compile(highway, fullgraph=True, backend="aot_eager")
    actual, expected = (_run(function, x, parameters, cotangent) for function in (compiled, highway))
    for name, value in actual.items():
        assert torch.equal(value, expected[name]), name


def test_no_layers_change_nothing() -> None:
    x = torch.randn(5, 6)
    assert torch.equal(highway(x, [], [], [], []), x)


def test_wrong_arguments_are_named() -> None:
    x, w, b = torch.randn(2, 3), [torch.ones(3, 3)], [torch.ones(3)]
    with pytest.raises(ValueError, match=r"x must be \[N, U\], got \[3\]"):
        highway(x[0], w, b, w, b)
    with pytest.raises(TypeError, match="x must be floating point"):
        highway(x.long(), w, b, w, b)
    with pytest.raises(ValueError, match=r"w_t\[0\] must be \[3, 3\], got \[4, 3\]"):
        highway(x, w, b, [torch.ones(4, 3)], b)
    with pytest.raises(ValueError, match=r"b_h\[0\] must be \[3\], got \[2\]"):
        highway(x, w, [torch.ones(2)], w, b)
    with pytest.raises(ValueError, match="b_t must hold 1 tensors as w_h does, got 2"):
        highway(x, w, b, w, b * 2)
    with pytest.raises(ValueError, match="w_t must hold 0 tensors as w_h does, got 1"):
        highway(x, [], [], w, [])
    with pytest.raises(TypeError, match=r"w_h\[0\] must be float32, got float16"):
        highway(x, [w[0].half()], b, w, b)
    with pytest.raises(TypeError, match=r"b_t\[0\] must be float32, got float64"):
        highway(x, w, b, w, [b[0].double()])
    with pytest.raises(ValueError, match=r"b_h\[0\] must be on cpu as x, got meta"):
        highway(x, w, [b[0].to("meta")], w, b)
