"""BN and ReLU of maps in every tier."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accuracy import CAPS, assert_accurate, relative_error
from cases import (
    LAYOUTS,
    REGISTERED,
    SHIFTED,
    STANDARD,
    assert_refused,
    assert_trains_alike,
    bytes_kept_for_backward,
    compiled,
    input_only_asked,
    on_gpu,
    replaced,
    training_and_eval,
)
from fastser_kernels import norm_pool, norm_relu
from fastser_kernels.norm_relu import op, reference
from torch import Tensor, nn
from torch.library import opcheck

from fastser.layers import FusedSequential

EPS = 1e-5
SHAPES = [(2, 72, 7, 6), (3, 5, 4, 35)]
"""More than one block of channels, and more than one block of columns."""


def _parameters(channels: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[Tensor]:
    """Return scale, shift, running mean and running variance."""
    positive, any_sign = torch.rand(2, channels) + 0.5, torch.randn(2, channels)
    return [t.to(device, dtype) for t in (positive[0], any_sign[0], any_sign[1], positive[1])]


def _maps(
    shape: tuple[int, ...], dtype: torch.dtype, parameters: list[Tensor], training: bool, **normal: float
) -> Tensor:
    """Return maps for which the inputs of the ReLU are not near zero, where the gradient jumps."""
    weight, bias, mean, var = (p.cpu().double() for p in parameters)
    x = torch.empty(shape).normal_(**normal).to(dtype)
    for _ in range(4):
        statistics = (None, None) if training else (mean, var)
        z = F.batch_norm(x.double(), *statistics, weight, bias, training, 0.0, EPS)
        x = torch.where(z.abs() < 1e-3, x + 0.06, x).to(dtype)
    assert z.abs().min() > 1e-4
    return x


def _run(
    function: Callable[..., Tensor], x: Tensor, parameters: list[Tensor], cotangent: Tensor, **modes: Any
) -> dict[str, Tensor]:
    """Return result, gradients and running statistics."""
    x = x.detach().requires_grad_()
    weight, bias, mean, var = (p.detach().clone() for p in parameters)
    learned = [p.requires_grad_() for p in (weight, bias)]
    y = function(x, weight, bias, mean, var, momentum=0.1, eps=EPS, **modes)
    gradients = torch.autograd.grad(y, [x, *learned], cotangent.to(y.dtype))
    names = ("grad x", "grad bn_weight", "grad bn_bias")
    return {"y": y, "running_mean": mean, "running_var": var} | dict(zip(names, gradients, strict=True))


def _compare(x: Tensor, parameters: list[Tensor], cotangent: Tensor, training: bool) -> None:
    actual = _run(norm_relu, x, parameters, cotangent, training=training)
    eager = _run(reference.norm_relu, x, parameters, cotangent, training=training)
    exact = _run(
        reference.norm_relu, x.double(), [p.double() for p in parameters], cotangent.double(), training=training
    )
    assert actual["y"].is_contiguous(memory_format=torch.channels_last)
    for name, value in actual.items():  # gradients of fp32 parameters too are computed from maps of the dtype of x
        assert_accurate(value, eager[name], exact[name], name, cap=CAPS[x.dtype])


@pytest.mark.kernel
@training_and_eval
@pytest.mark.parametrize(("shape", "normal"), [(SHAPES[0], SHIFTED), (SHAPES[1], STANDARD)], ids=str)
def test_values_and_gradients(
    shape: tuple[int, ...], training: bool, normal: dict[str, float], dtype: torch.dtype, device: str
) -> None:
    parameters = _parameters(shape[1], device=device)
    x = LAYOUTS["channels_last"](_maps(shape, dtype, parameters, training, **normal).to(device))
    _compare(x, parameters, torch.randn(shape).to(device, dtype), training)


@pytest.mark.kernel
@pytest.mark.parametrize("layout", ["contiguous", "sliced"])
def test_takes_any_layout_and_parameters_of_its_own_dtype(layout: str, dtype: torch.dtype, device: str) -> None:
    parameters = _parameters(5, dtype, device)
    x = LAYOUTS[layout](_maps((2, 5, 6, 6), dtype, parameters, training=True).to(device))
    _compare(x, parameters, LAYOUTS["sliced"](torch.randn(x.shape)).to(device, dtype), training=True)


@pytest.mark.kernel
@training_and_eval
@pytest.mark.parametrize("of_gradient", ["contiguous", "sliced", "expanded"])
def test_backward_takes_any_layout_of_the_gradient(of_gradient: str, training: bool, device: str) -> None:
    """An "expanded" gradient is that of the mean of each map."""
    weight, bias, mean, var = _parameters(8, device=device)
    x = torch.randn(2, 8, 5, 7).to(device)
    gradient = LAYOUTS[of_gradient](torch.randn(2, 8, 5, 7).to(device))
    running = (None, None) if training else (mean, var)
    _, *batch = op._forward(x, weight, bias, *running, training, EPS)
    rest = x, *batch, weight, bias, *running, training, EPS, False
    actual = op._backward(gradient, *rest)
    expected = op._backward(LAYOUTS["channels_last"](gradient), *rest)
    torch.testing.assert_close(actual, expected)
    input_only, nothing = op._backward(gradient, *rest[:-1], True)
    assert nothing == []
    torch.testing.assert_close(input_only, expected[0])


@pytest.mark.kernel
def test_statistics_are_safe_far_from_zero(device: str) -> None:
    weight, bias, mean, var = _parameters(8, device=device)
    x = (torch.randn(4, 8, 32, 16) + 100.0).to(device).contiguous(memory_format=torch.channels_last)
    norm_relu(x, weight, bias, mean, var, training=True, momentum=1.0, eps=EPS)
    exact_var, exact_mean = torch.var_mean(x.double(), (0, 2, 3))
    assert relative_error(mean, exact_mean) < 1e-7
    assert relative_error(var, exact_var) < 1e-5


@pytest.mark.kernel
def test_an_empty_batch_is_no_error(device: str) -> None:
    x, parameters = torch.empty(0, 5, 6, 4, device=device, requires_grad=True), _parameters(5, device=device)
    learned = [parameters[place].requires_grad_() for place in (0, 1)]
    y = norm_relu(x, *parameters, training=False, momentum=0.1, eps=EPS)
    assert y.shape == x.shape
    grad_x, *gradients = torch.autograd.grad(y.sum(), [x, *learned])
    assert grad_x.shape == x.shape
    for gradient, parameter in zip(gradients, learned, strict=True):
        torch.testing.assert_close(gradient, torch.zeros_like(parameter))


@pytest.mark.kernel
def test_a_relu_passes_no_gradient_at_zero(device: str) -> None:
    """This is the gradient of silence with initial running means and shifts."""
    weight, bias, mean, var = _parameters(5, device=device)
    x, cotangent = torch.zeros(2, 5, 6, 4, device=device), torch.randn(2, 5, 6, 4, device=device)
    for training in (True, False):
        _compare(x, [weight, 0 * bias, 0 * mean, var], cotangent, training)


@pytest.mark.kernel
@training_and_eval
def test_not_a_number_stays_visible(training: bool, device: str) -> None:
    x = torch.randn(2, 5, 6, 4, device=device)
    x[0, 0, 2, 2] = torch.nan
    y = norm_relu(x, *_parameters(5, device=device), training=training, momentum=0.1, eps=EPS)
    assert y[0, 0, 2, 2].isnan()
    assert y[:, 1:].isfinite().all()


@pytest.mark.parametrize("threads", [2, 3, 50])
@pytest.mark.parametrize("shape", [(5, 3, 7, 5), (4, 17, 6, 4), (1, 2, 3, 1030)])
def test_threads_make_no_difference(shape: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them are more threads than rows, and rows of more values than are added in one sum of float32."""
    monkeypatch.setattr(norm_pool, "threads_for", lambda _: threads)
    for training in (True, False):
        parameters = _parameters(shape[1], torch.float64)
        x = _maps(shape, torch.float64, parameters, training)
        _compare(x, parameters, torch.randn(shape), training)


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 64, 150])
def test_any_number_of_channels(channels: int, dtype: torch.dtype) -> None:
    parameters = _parameters(channels)
    x = _maps((2, channels, 5, 5), dtype, parameters, training=True)
    _compare(x, parameters, torch.randn(x.shape).to(dtype), training=True)


@pytest.mark.parametrize(("size", "expected"), [(4, 0), (256, 1)])
def test_small_maps_take_the_reference_on_a_cpu(
    size: int, expected: int, monkeypatch: pytest.MonkeyPatch, own_operations: None
) -> None:
    monkeypatch.setattr(op, "SMALL", 2**18)
    calls: list[Tensor] = []
    forward = op._forward
    monkeypatch.setattr(op, "_forward", lambda *args: calls.append(args[0]) or forward(*args))
    layer, x = FusedSequential(nn.BatchNorm2d(4), nn.ReLU()), torch.randn(1, 4, size, size)
    torch.testing.assert_close(layer(x), nn.Sequential(*layer)(x))
    assert len(calls) == expected


def test_running_statistics_follow_batch_norm() -> None:
    norm, x = nn.BatchNorm2d(5, momentum=0.3), torch.randn(2, 5, 4, 6) * 3 + 1
    _, _, mean, var = _parameters(5)
    norm.running_mean, norm.running_var = mean.clone(), var.clone()
    norm(x)
    norm_relu(x, norm.weight, norm.bias, mean, var, training=True, momentum=0.3, eps=EPS)
    torch.testing.assert_close((mean, var), (norm.running_mean, norm.running_var))


@pytest.mark.parametrize(("dtype", "layout"), REGISTERED)
def test_passes_opcheck(dtype: torch.dtype, layout: str) -> None:
    weight, bias, mean, var = _parameters(3, dtype)
    x, gradient = LAYOUTS[layout](torch.randn(2, 3, 5, 4).to(dtype)), torch.randn(2, 3, 5, 4).to(dtype)
    for training, running in ((True, (None, None)), (False, (mean, var))):
        forward = (x, weight, bias, *running, training, EPS)
        opcheck(op._forward, forward)
        _, *batch = op._forward(*forward)
        opcheck(op._backward, (gradient, x, *batch, weight, bias, *running, training, EPS, not training))


@training_and_eval
def test_gradcheck(training: bool) -> None:
    parameters = _parameters(3, torch.float64)
    x = _maps((2, 3, 5, 4), torch.float64, parameters, training)

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        running = (p.clone() for p in parameters[2:])
        return norm_relu(x, weight, bias, *running, training=training, momentum=0.1, eps=EPS)

    assert torch.autograd.gradcheck(run, [t.requires_grad_() for t in (x, *parameters[:2])])


@training_and_eval
def test_compiled_equals_eager(training: bool) -> None:
    parameters, cotangent = _parameters(3, torch.float64), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    x = _maps((2, 3, 5, 4), torch.float64, parameters, training)
    actual = _run(compiled(norm_relu), x, parameters, cotangent, training=training)
    for eager in (norm_relu, reference.norm_relu):
        torch.testing.assert_close(actual, _run(eager, x, parameters, cotangent, training=training))


def test_only_maps_and_statistics_are_kept_for_backward() -> None:
    weight, bias, mean, var = _parameters(64)
    x = LAYOUTS["channels_last"](torch.randn(2, 64, 16, 16)).requires_grad_()
    run = partial(norm_relu, x, weight, bias, mean, var, training=True, momentum=0.1, eps=EPS)
    assert bytes_kept_for_backward(run, weight, bias) == x.nbytes + 2 * mean.nbytes


def test_no_parameter_gradient_where_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = input_only_asked(op, monkeypatch)
    layer, x = FusedSequential(nn.BatchNorm2d(3), nn.ReLU()), torch.randn(2, 3, 4, 4, requires_grad=True)
    layer(x).sum().backward()
    layer.requires_grad_(False)(x).sum().backward()
    assert asked == [False, True]


def test_trains_as_plain_modules_do(device: str) -> None:
    x, target = (torch.randn(2, 4, 4, 4) - 2.3).to(device), torch.rand(2, 4, 4, 4).to(device)

    def loss(model: nn.Module) -> Tensor:
        return F.mse_loss(model(x), target)

    fused, plain = (kind(nn.BatchNorm2d(4), nn.ReLU()).to(device) for kind in (FusedSequential, nn.Sequential))
    learnt = 0.7 * loss(fused).item()
    assert_trains_alike(fused, plain, loss, partial(torch.optim.Adam, lr=1e-2), learnt)


@on_gpu
def test_at_full_size_bits_repeat() -> None:
    parameters = _parameters(192, device="cuda")
    maps = torch.randn(64, 192, 64, 32, device="cuda", dtype=torch.bfloat16)
    x = maps.contiguous(memory_format=torch.channels_last)
    cotangent = torch.randn(x.shape, device="cuda")
    first, second = (_run(norm_relu, x, parameters, cotangent, training=True) for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_wrong_arguments_are_named() -> None:
    x, parameters = torch.randn(2, 3, 4, 4), _parameters(3)
    wrong = [
        ((x[0], *parameters), ValueError, r"x must be \[N, C, T, F\], got \[3, 4, 4\]"),
        ((x.long(), *parameters), TypeError, r"x must be floating point, got int64"),
        ((x[:, :, :0], *parameters), ValueError, r"x must hold maps of at least 1 x 1, got \[2, 3, 0, 4\]"),
        (
            (x[:0], *parameters),
            ValueError,
            r"x must hold more than 1 value per channel when training, got \[0, 3, 4, 4\]",
        ),
        ((x, *replaced(parameters, 0, torch.ones(2))), ValueError, r"bn_weight must be \[3\], got \[2\]"),
        ((x, *replaced(parameters, 2, torch.ones(3).double())), TypeError, "running_mean must be float32, got float64"),
        (
            (x, *replaced(parameters, 3, torch.ones(3, device="meta"))),
            ValueError,
            "running_var must be on cpu as x, got meta",
        ),
    ]
    assert_refused(partial(norm_relu, training=True, momentum=0.1, eps=EPS), wrong)
