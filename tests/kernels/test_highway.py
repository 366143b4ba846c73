"""The highway network in every tier."""

from collections.abc import Callable
from functools import partial
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from accuracy import CAPS, assert_accurate
from cases import (
    SHIFTED,
    STANDARD,
    PlainHighway,
    assert_refused,
    assert_trains_alike,
    compiled,
    input_only_asked,
    on_gpu,
)
from fastser_kernels import highway
from fastser_kernels.highway import op, reference
from torch import Tensor, nn
from torch.library import opcheck

from fastser.layers import Highway

Lists = list[list[Tensor]]
NAMES = ("w_h", "b_h", "w_t", "b_t")
SHAPES = [(19, 24, 3), (33, 70, 1)]
"""Rows, units, layers: less than a tile of columns, or several tiles along each axis; errors average over values."""


def _parameters(units: int, layers: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Lists:
    """Return the parameter lists. Biases of +-1 keep the inputs of the ReLUs from zero, where the gradient jumps."""
    weights = torch.randn(2, layers, units, units) * 0.1 / units**0.5
    b_h, b_t = torch.randn(layers, units).sign(), torch.randn(layers, units)
    lists = (weights[0], b_h, weights[1], b_t)
    return [[t.to(device, dtype) for t in tensors] for tensors in lists]


def _run(function: Callable[..., Tensor], x: Tensor, parameters: Lists, cotangent: Tensor) -> dict[str, Tensor]:
    """Return result and gradients."""
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
    for name, value in actual.items():  # gradients of fp32 parameters too are computed from features of the dtype of x
        assert_accurate(value, eager[name], exact[name], name, cap=CAPS[x.dtype])


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("rows", "units", "layers", "normal"), [(*SHAPES[0], SHIFTED), (*SHAPES[1], STANDARD)], ids=["less", "more"]
)
def test_values_and_gradients(
    rows: int, units: int, layers: int, normal: dict[str, float], dtype: torch.dtype, device: str
) -> None:
    x = torch.empty(rows, units).normal_(**normal).to(device, dtype)
    _compare(x, _parameters(units, layers, device=device), torch.randn(rows, units).to(device, dtype))


@pytest.mark.kernel
def test_parameters_of_the_dtype_of_the_features(dtype: torch.dtype, device: str) -> None:
    x, cotangent = torch.randn(2, 17, 40).to(device, dtype)
    _compare(x, _parameters(40, 2, dtype, device), cotangent)


@pytest.mark.fast
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


def test_no_parameter_gradient_where_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = input_only_asked(op, monkeypatch)
    network, x = Highway(3, 2), torch.randn(2, 3, requires_grad=True)
    network(x).sum().backward()
    network.requires_grad_(False)(x).sum().backward()
    assert asked == [False, True]


def test_trains_as_plain_modules_do(device: str) -> None:
    x, target = torch.randn(2, 16, 12).to(device)

    def loss(model: nn.Module) -> Tensor:
        return F.mse_loss(model(x), target)

    learnt = 0.7 * F.mse_loss(x, target).item()
    optimizer = partial(torch.optim.Adam, lr=1e-2)
    assert_trains_alike(Highway(12, 3).to(device), PlainHighway(12, 3).to(device), loss, optimizer, learnt)


@on_gpu
@pytest.mark.parametrize("rows", [64, 4096])
def test_at_full_size_values_hold_and_bits_repeat(rows: int, dtype: torch.dtype) -> None:
    x, cotangent = torch.randn(2, rows, 128).to("cuda", dtype)
    parameters = _parameters(128, 3, device="cuda")
    _compare(x, parameters, cotangent)
    first, second = (_run(highway, x, parameters, cotangent) for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize(
    ("dtype", "parameter_dtype"),
    [(torch.float64, torch.float64), (torch.bfloat16, torch.bfloat16), (torch.bfloat16, torch.float32)],
)
def test_passes_opcheck(dtype: torch.dtype, parameter_dtype: torch.dtype) -> None:
    x, grad = torch.randn(2, 5, 6, dtype=dtype)
    parameters = _parameters(6, 2, parameter_dtype)
    opcheck(op._forward, (x, *parameters))
    results, hidden, gates = op._forward(x, *parameters)
    saved = [x, *results[:-1]], hidden, gates, parameters[0], parameters[2]
    for input_only in (True, False):
        opcheck(op._backward, (grad, *saved, input_only))


@pytest.mark.parametrize("place", range(8))
def test_any_parameter_can_be_trained_alone(place: int) -> None:
    x, cotangent = torch.randn(2, 3, 4, dtype=torch.float64)
    parameters = _parameters(4, 2, torch.float64)
    learned = [*chain(*parameters)][place].requires_grad_()
    ours, expected = (
        torch.autograd.grad(run(x, *parameters), learned, cotangent) for run in (highway, reference.highway)
    )
    torch.testing.assert_close(ours, expected)


def test_gradcheck() -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    parameters = [p.requires_grad_() for p in chain(*_parameters(4, 2, torch.float64))]

    def network(x: Tensor, *parameters: Tensor) -> Tensor:
        return highway(x, *(list(parameters[i : i + 2]) for i in range(0, 8, 2)))

    assert torch.autograd.gradcheck(network, (x, *parameters))


def test_compiled_equals_eager() -> None:
    x, cotangent = torch.randn(2, 5, 6)
    parameters = _parameters(6, 3)
    actual, expected = (_run(function, x, parameters, cotangent) for function in (compiled(highway), highway))
    for name, value in actual.items():
        assert torch.equal(value, expected[name]), name


def test_no_layers_change_nothing() -> None:
    x = torch.randn(5, 6)
    assert torch.equal(highway(x, [], [], [], []), x)


def test_wrong_arguments_are_named() -> None:
    x, w, b = torch.randn(2, 3), [torch.ones(3, 3)], [torch.ones(3)]
    wrong = [
        ((x[0], w, b, w, b), ValueError, r"x must be \[N, U\], got \[3\]"),
        ((x.long(), w, b, w, b), TypeError, "x must be floating point"),
        ((x, w, b, [torch.ones(4, 3)], b), ValueError, r"w_t\[0\] must be \[3, 3\], got \[4, 3\]"),
        ((x, w, [torch.ones(2)], w, b), ValueError, r"b_h\[0\] must be \[3\], got \[2\]"),
        ((x, w, b, w, b * 2), ValueError, "b_t must hold one tensor, as many as w_h, got 2"),
        ((x, [], [], w, []), ValueError, "w_t must hold 0 tensors, as many as w_h, got 1"),
        ((x, [w[0].half()], b, w, b), TypeError, r"w_h\[0\] must be float32, got float16"),
        ((x, w, b, w, [b[0].double()]), TypeError, r"b_t\[0\] must be float32, got float64"),
        ((x, w, [b[0].to("meta")], w, b), ValueError, r"b_h\[0\] must be on cpu as x, got meta"),
    ]
    assert_refused(highway, wrong)
