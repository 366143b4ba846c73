"""The transition in every tier."""

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
    plain_transition,
    replaced,
    training_and_eval,
)
from fastser_kernels import norm_pool, transition
from fastser_kernels.transition import op, reference
from torch import Tensor, nn
from torch.library import opcheck

from fastser.layers import Transition

EPS = 1e-5
SHAPES = [(2, 72, 7, 6), (3, 5, 4, 35)]
"""Odd number of rows and more than one block of channels; odd number of columns and more than one block of columns."""


def _parameters(channels: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[Tensor]:
    """Return scale, shift, running mean, running variance and kernel."""
    positive, any_sign = torch.rand(2, channels) + 0.5, torch.randn(2, channels)
    kernel = torch.randn(4, channels, 1, 1)
    return [t.to(device, dtype) for t in (positive[0], any_sign[0], any_sign[1], positive[1], kernel)]


def _maps(
    shape: tuple[int, ...], dtype: torch.dtype, parameters: list[Tensor], training: bool, **normal: float
) -> Tensor:
    """Return maps for which the inputs of the ReLU are not near zero, where the gradient jumps."""
    weight, bias, mean, var, _ = (p.cpu().double() for p in parameters)
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
    weight, bias, mean, var, kernel = (p.detach().clone() for p in parameters)
    learned = [p.requires_grad_() for p in (weight, bias, kernel)]
    y = function(x, weight, bias, mean, var, kernel, momentum=0.1, eps=EPS, **modes)
    gradients = torch.autograd.grad(y, [x, *learned], cotangent.to(y.dtype))
    names = ("grad x", "grad bn_weight", "grad bn_bias", "grad conv_weight")
    return {"y": y, "running_mean": mean, "running_var": var} | dict(zip(names, gradients, strict=True))


def _compare(x: Tensor, parameters: list[Tensor], cotangent: Tensor, training: bool) -> None:
    actual = _run(transition, x, parameters, cotangent, training=training)
    eager = _run(reference.transition, x, parameters, cotangent, training=training)
    exact = _run(
        reference.transition, x.double(), [p.double() for p in parameters], cotangent.double(), training=training
    )
    if op.has_kernel("transition", x):  # without compiled kernels the reference computes, in the layout of `x`
        assert actual["y"].is_contiguous(memory_format=torch.channels_last)
    for name, value in actual.items():  # gradients of fp32 parameters too are computed from maps of the dtype of x
        assert_accurate(value, eager[name], exact[name], name, cap=CAPS[x.dtype])


@pytest.mark.kernel
@training_and_eval
@pytest.mark.parametrize(
    ("shape", "normal"), [(SHAPES[0], SHIFTED), (SHAPES[1], STANDARD)], ids=["odd rows", "odd columns"]
)
def test_values_and_gradients(
    shape: tuple[int, ...], training: bool, normal: dict[str, float], dtype: torch.dtype, device: str
) -> None:
    parameters = _parameters(shape[1], device=device)
    x = LAYOUTS["channels_last"](_maps(shape, dtype, parameters, training, **normal).to(device))
    cotangent = torch.randn(shape[0], 4, shape[2] // 2, shape[3] // 2).to(device, dtype)
    _compare(x, parameters, cotangent, training)


@pytest.mark.kernel
@pytest.mark.parametrize("layout", ["contiguous", "sliced"])
def test_takes_any_layout_and_parameters_of_its_own_dtype(layout: str, dtype: torch.dtype, device: str) -> None:
    parameters = _parameters(5, dtype, device)
    x = LAYOUTS[layout](_maps((2, 5, 6, 6), dtype, parameters, training=True).to(device))
    _compare(x, parameters, LAYOUTS["sliced"](torch.randn(2, 4, 3, 3)).to(device, dtype), training=True)


@pytest.mark.kernel
@training_and_eval
@pytest.mark.parametrize("of_gradient", ["contiguous", "sliced", "expanded"])
def test_backward_takes_any_layout_of_the_gradient(of_gradient: str, training: bool, device: str) -> None:
    weight, bias, mean, var, _ = _parameters(8, device=device)
    x = torch.randn(2, 8, 5, 7).to(device)
    gradient = LAYOUTS[of_gradient](torch.randn(2, 8, 2, 3).to(device))
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
def test_programs_sum_several_rows(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = pytest.importorskip("fastser_kernels.norm_pool_kernels", reason="Triton is not installed")
    monkeypatch.setattr(kernels, "MAX_PROGRAMS", 4)
    parameters = _parameters(5, device=device)
    x = _maps((3, 5, 6, 4), torch.float32, parameters, training=True).to(device)
    _compare(x, parameters, torch.randn(3, 4, 3, 2).to(device), training=True)


@pytest.mark.kernel
def test_statistics_are_safe_far_from_zero(device: str) -> None:
    weight, bias, mean, var, kernel = _parameters(8, device=device)
    x = (torch.randn(4, 8, 32, 16) + 100.0).to(device).contiguous(memory_format=torch.channels_last)
    transition(x, weight, bias, mean, var, kernel, training=True, momentum=1.0, eps=EPS)
    exact_var, exact_mean = torch.var_mean(x.double(), (0, 2, 3))
    assert relative_error(mean, exact_mean) < 1e-7
    assert relative_error(var, exact_var) < 1e-5


@pytest.mark.kernel
def test_an_empty_batch_is_no_error(device: str) -> None:
    x, parameters = torch.empty(0, 5, 6, 4, device=device, requires_grad=True), _parameters(5, device=device)
    y = transition(x, *parameters, training=False, momentum=0.1, eps=EPS)
    assert y.shape == (0, 4, 3, 2)
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape
    learned = [parameters[place].requires_grad_() for place in (0, 1, 4)]
    y = transition(x, *parameters, training=False, momentum=0.1, eps=EPS)
    for gradient, parameter in zip(torch.autograd.grad(y.sum(), learned), learned, strict=True):
        torch.testing.assert_close(gradient, torch.zeros_like(parameter))


@pytest.mark.kernel
def test_a_relu_passes_no_gradient_at_zero(device: str) -> None:
    """This is the gradient of silence with initial running means and shifts."""
    weight, bias, mean, var, kernel = _parameters(5, device=device)
    x, cotangent = torch.zeros(2, 5, 6, 4, device=device), torch.randn(2, 4, 3, 2, device=device)
    for training in (True, False):
        _compare(x, [weight, 0 * bias, 0 * mean, var, kernel], cotangent, training)


@pytest.mark.kernel
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_takes_vectors_with_gaps(training: bool, device: str) -> None:
    *vectors, kernel = _parameters(5, device=device)
    x, cotangent = torch.randn(2, 5, 6, 4, device=device), torch.randn(2, 4, 3, 2, device=device)
    expected = _run(transition, x, [*vectors, kernel], cotangent, training=training)
    apart = [vector.repeat_interleave(2)[::2] for vector in vectors]
    x = x.requires_grad_()
    y = transition(x, *apart, kernel, training=training, momentum=0.1, eps=EPS)
    torch.testing.assert_close(y, expected["y"])
    torch.testing.assert_close(torch.autograd.grad(y, x, cotangent)[0], expected["grad x"])
    torch.testing.assert_close(apart[2], expected["running_mean"])


@pytest.mark.kernel
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_not_a_number_stays_visible(training: bool, device: str) -> None:
    parameters = _parameters(5, device=device)
    x = torch.randn(2, 5, 6, 4, device=device)
    x[0, 0, 2, 2] = torch.nan
    assert transition(x, *parameters, training=training, momentum=0.1, eps=EPS)[0, :, 1, 1].isnan().all()


@pytest.mark.fast
@pytest.mark.kernel
def test_statistics_do_not_depend_on_the_default_dtype(device: str) -> None:
    parameters = _parameters(5, device=device)
    x = _maps((2, 5, 6, 6), torch.float32, parameters, training=True).to(device)
    cotangent = torch.randn(2, 4, 3, 3).to(device)
    torch.set_default_dtype(torch.bfloat16)
    try:
        _compare(x, parameters, cotangent, training=True)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_any_parameter_can_be_trained_alone(training: bool, place: int) -> None:
    parameters, x = _parameters(3, torch.float64), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    parameters[place].requires_grad_()
    cotangent = torch.randn(2, 4, 2, 2, dtype=torch.float64)
    ours, expected = (
        torch.autograd.grad(run(x, *parameters, training=training, momentum=0.0, eps=EPS), parameters[place], cotangent)
        for run in (transition, reference.transition)
    )
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("threads", [2, 3, 50])
@pytest.mark.parametrize("shape", [(5, 3, 7, 5), (4, 17, 6, 4), (1, 2, 3, 1030)])
def test_threads_make_no_difference(shape: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them are more threads than rows, and rows of more values than are added in one sum of float32."""
    monkeypatch.setattr(norm_pool, "threads_for", lambda _: threads)
    for training in (True, False):
        parameters = _parameters(shape[1], torch.float64)
        x = _maps(shape, torch.float64, parameters, training)
        _compare(x, parameters, torch.randn(shape[0], 4, shape[2] // 2, shape[3] // 2), training)


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 64, 150])
def test_any_number_of_channels(channels: int, dtype: torch.dtype) -> None:
    parameters = _parameters(channels)
    x = _maps((2, channels, 5, 5), dtype, parameters, training=True)
    _compare(x, parameters, torch.randn(2, 4, 2, 2).to(dtype), training=True)


@training_and_eval
def test_convolution_and_matrix_product_agree(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, cotangent = _parameters(3, torch.float64), torch.randn(2, 4, 2, 2, dtype=torch.float64)
    x = _maps((2, 3, 5, 4), torch.float64, parameters, training)
    results = []
    for few in (0, op.FEW):
        monkeypatch.setattr(op, "FEW", few)
        results.append(_run(transition, x, parameters, cotangent, training=training))
    torch.testing.assert_close(*results)
    assert [result["y"].is_contiguous(memory_format=torch.channels_last) for result in results] == [True, True]


def test_running_statistics_follow_batch_norm() -> None:
    norm, x = nn.BatchNorm2d(5, momentum=0.3), torch.randn(2, 5, 4, 6) * 3 + 1
    _, _, mean, var, kernel = _parameters(5)
    norm.running_mean, norm.running_var = mean.clone(), var.clone()
    norm(x)
    transition(x, norm.weight, norm.bias, mean, var, kernel, training=True, momentum=0.3, eps=EPS)
    torch.testing.assert_close((mean, var), (norm.running_mean, norm.running_var))


@pytest.mark.parametrize(("dtype", "layout"), REGISTERED)
def test_passes_opcheck(dtype: torch.dtype, layout: str) -> None:
    weight, bias, mean, var, _ = _parameters(3, dtype)
    x, gradient = LAYOUTS[layout](torch.randn(2, 3, 5, 4).to(dtype)), torch.randn(2, 3, 2, 2).to(dtype)
    for training, running in ((True, (None, None)), (False, (mean, var))):
        forward = (x, weight, bias, *running, training, EPS)
        opcheck(op._forward, forward)
        _, *batch = op._forward(*forward)
        opcheck(op._backward, (gradient, x, *batch, weight, bias, *running, training, EPS, not training))


@training_and_eval
def test_gradcheck(training: bool) -> None:
    parameters = _parameters(3, torch.float64)
    x = _maps((2, 3, 5, 4), torch.float64, parameters, training)

    def run(x: Tensor, weight: Tensor, bias: Tensor, kernel: Tensor) -> Tensor:
        running = (p.clone() for p in parameters[2:4])
        return transition(x, weight, bias, *running, kernel, training=training, momentum=0.1, eps=EPS)

    inputs = [t.requires_grad_() for t in (x, parameters[0], parameters[1], parameters[4])]
    assert torch.autograd.gradcheck(run, inputs)


@training_and_eval
def test_compiled_equals_eager(training: bool) -> None:
    parameters, cotangent = _parameters(3, torch.float64), torch.randn(2, 4, 2, 2, dtype=torch.float64)
    x = _maps((2, 3, 5, 4), torch.float64, parameters, training)
    actual = _run(compiled(transition), x, parameters, cotangent, training=training)
    for eager in (transition, reference.transition):
        torch.testing.assert_close(actual, _run(eager, x, parameters, cotangent, training=training))


def test_only_maps_and_statistics_are_kept_for_backward() -> None:
    weight, bias, mean, var, kernel = _parameters(64)
    x = LAYOUTS["channels_last"](torch.randn(2, 64, 16, 16)).requires_grad_()
    kernel.requires_grad_()
    run = partial(transition, x, weight, bias, mean, var, kernel, training=True, momentum=0.1, eps=EPS)
    pooled, statistics = x.nbytes // 4, 2 * mean.nbytes  # the convolution keeps the pooled maps
    assert bytes_kept_for_backward(run, weight, bias, kernel) == x.nbytes + pooled + statistics


def test_no_parameter_gradient_where_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = input_only_asked(op, monkeypatch)
    layer, x = Transition(3, 2), torch.randn(2, 3, 4, 4, requires_grad=True)
    layer(x).sum().backward()
    layer.requires_grad_(False)(x).sum().backward()
    assert asked == [False, True]


def test_trains_as_plain_modules_do(device: str) -> None:
    x, target = (torch.randn(2, 4, 4, 4) - 2.3).to(device), torch.randn(2, 3, 2, 2).to(device)

    def loss(model: nn.Module) -> Tensor:
        return F.mse_loss(model(x), target)

    learnt = 0.99 * target.square().mean().item()
    optimizer = partial(torch.optim.Adam, lr=1e-2)
    assert_trains_alike(Transition(4, 3).to(device), plain_transition(4, 3).to(device), loss, optimizer, learnt)


@on_gpu
def test_at_full_size_bits_repeat_and_memory_is_that_of_the_results() -> None:
    parameters = _parameters(192, device="cuda")
    maps = torch.randn(64, 192, 128, 64, device="cuda", dtype=torch.bfloat16)
    x = maps.contiguous(memory_format=torch.channels_last)
    cotangent = torch.randn(64, 4, 64, 32, device="cuda")
    first = _run(transition, x, parameters, cotangent, training=True)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    second = _run(transition, x, parameters, cotangent, training=True)
    assert torch.cuda.max_memory_allocated() - before < 1.8 * x.nbytes
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_wrong_arguments_are_named() -> None:
    x, parameters = torch.randn(2, 3, 4, 4), _parameters(3)
    wrong = [
        ((x[0], *parameters), ValueError, r"x must be \[N, C, T, F\], got \[3, 4, 4\]"),
        ((x.long(), *parameters), TypeError, r"x must be floating point, got int64"),
        ((x[:, :, :1], *parameters), ValueError, r"x must hold maps of at least 2 x 2, got \[2, 3, 1, 4\]"),
        ((x[:, :0], *parameters), ValueError, r"x must hold maps of at least 2 x 2, got \[2, 0, 4, 4\]"),
        (
            (x[:0], *parameters),
            ValueError,
            r"x must hold more than 1 value per channel when training, got \[0, 3, 4, 4\]",
        ),
        ((x, *replaced(parameters, 4, torch.tensor(1.0))), ValueError, r"conv_weight must be \[D, 3, 1, 1\], got \[\]"),
        ((x, *replaced(parameters, 0, torch.ones(2))), ValueError, r"bn_weight must be \[3\], got \[2\]"),
        ((x, *replaced(parameters, 2, torch.ones(3).double())), TypeError, "running_mean must be float32, got float64"),
        (
            (x, *replaced(parameters, 3, torch.ones(3, device="meta"))),
            ValueError,
            "running_var must be on cpu as x, got meta",
        ),
        (
            (x, *replaced(parameters, 4, torch.ones(2, 3, 3, 3))),
            ValueError,
            r"conv_weight must be \[D, 3, 1, 1\], got \[2, 3, 3, 3\]",
        ),
        (
            (x.half(), *replaced(parameters, 4, torch.ones(2, 3, 1, 1).double())),
            TypeError,
            "conv_weight must be float16 or float32",
        ),
    ]
    assert_refused(partial(transition, training=True, momentum=0.1, eps=EPS), wrong)
