"""2x2 max-pooling with ReLU in every tier."""

from collections.abc import Callable

import pytest
import torch
from cases import LAYOUTS, REGISTERED, assert_refused, bytes_kept_for_backward, compiled, on_gpu
from fastser_kernels import max_pool_relu
from fastser_kernels.max_pool_relu import op, reference
from torch import Tensor, nn
from torch.library import opcheck

from fastser.layers import MaxPoolReLU

SHAPES = [(2, 3, 2, 2), (3, 6, 9, 7), (1, 16, 5, 6), (2, 20, 7, 37)]
"""One window, less than a vector of channels, whole vectors, and more than one; sizes odd and even."""


def _maps(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    """Return maps in channels_last with many equal values, and many windows without a positive one."""
    maps = (torch.randn(shape) * 2).round() - 1
    return maps.to(device, dtype, memory_format=torch.channels_last)


def _run(function: Callable[[Tensor], Tensor], x: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
    """Return result and gradient."""
    x = x.detach().requires_grad_()
    y = function(x)
    (grad,) = torch.autograd.grad(y, x, cotangent)
    return y, grad


def _compare(x: Tensor, cotangent: Tensor) -> None:
    """Check that result and gradient equal those of torch, bit for bit."""
    actual, expected = _run(max_pool_relu, x, cotangent), _run(reference.max_pool_relu, x, cotangent)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def _cotangent(x: Tensor) -> Tensor:
    return torch.randn(x.shape[0], x.shape[1], x.shape[2] // 2, x.shape[3] // 2).to(x)


@pytest.mark.fast
@pytest.mark.kernel
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
    x = _maps(shape, dtype, device)
    _compare(x, _cotangent(x))


@pytest.mark.kernel
@pytest.mark.parametrize("layout", LAYOUTS)
def test_takes_any_layout(layout: str, device: str) -> None:
    x = LAYOUTS[layout](_maps((2, 5, 6, 7), device=device))
    _compare(x, _cotangent(x))
    _compare(x, torch.randn(2, 5, 1, 1).to(x).expand(2, 5, 3, 3))


@pytest.mark.kernel
@pytest.mark.parametrize("places", [[0], [3], [1, 2], [0, 1, 2, 3]])
def test_not_a_number_is_the_result_and_gets_the_gradient(places: list[int], device: str) -> None:
    x = _maps((2, 5, 6, 7), device=device)
    for place in places:
        x[1, 2, 2 + place // 2, 4 + place % 2] = torch.nan
    assert max_pool_relu(x).isnan().nonzero().tolist() == [[1, 2, 1, 2]]
    _compare(x, _cotangent(x))


@pytest.mark.kernel
def test_infinite_values(device: str) -> None:
    x = _maps((2, 5, 6, 7), device=device)
    x[0, :, :2] = -torch.inf
    x[1, :, 3, 3] = torch.inf
    _compare(x, _cotangent(x))


@pytest.mark.kernel
def test_an_empty_batch_is_no_error(device: str) -> None:
    x = torch.empty(0, 3, 4, 5, device=device, requires_grad=True)
    y = max_pool_relu(x)
    assert y.shape == (0, 3, 2, 2)
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape


def test_on_several_threads_the_bits_are_the_same() -> None:
    x = _maps((3, 16, 65, 64))
    cotangent = _cotangent(x)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(_run(max_pool_relu, x, cotangent))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=0)


def test_one_byte_per_result_is_kept_for_the_backward_pass() -> None:
    x = _maps((2, 3, 8, 8)).requires_grad_()
    assert bytes_kept_for_backward(lambda: max_pool_relu(x)) == 2 * 3 * 4 * 4


def test_the_result_can_be_changed_in_place() -> None:
    x = _maps((2, 3, 4, 4)).requires_grad_()
    y = max_pool_relu(x)
    y += 1
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(grad, _run(reference.max_pool_relu, x, torch.ones_like(y))[1])


@pytest.mark.parametrize(("dtype", "layout"), REGISTERED)
def test_passes_opcheck(dtype: torch.dtype, layout: str) -> None:
    x = LAYOUTS[layout](_maps((2, 3, 5, 4), dtype))
    opcheck(op._forward, (x,))
    y, chosen = op._forward(x)
    opcheck(op._backward, (torch.randn_like(y), chosen, 5, 4))


def test_gradcheck() -> None:
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(max_pool_relu, x)
    assert torch.autograd.gradgradcheck(max_pool_relu, x)


def test_batched_gradients_equal_single_ones() -> None:
    x = _maps((2, 3, 5, 4)).requires_grad_()
    y = max_pool_relu(x)
    cotangents = torch.randn(4, *y.shape)
    (batched,) = torch.autograd.grad(y, x, cotangents, retain_graph=True, is_grads_batched=True)
    for cotangent, grad in zip(cotangents, batched, strict=True):
        assert torch.equal(grad, torch.autograd.grad(y, x, cotangent, retain_graph=True)[0])


def test_compiled_equals_eager() -> None:
    x = _maps((2, 3, 5, 4))
    cotangent = _cotangent(x)
    actual, expected = (_run(function, x, cotangent) for function in (compiled(max_pool_relu), max_pool_relu))
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_the_layer_equals_plain_modules() -> None:
    x = _maps((2, 3, 5, 4))
    assert torch.equal(MaxPoolReLU()(x), nn.Sequential(nn.MaxPool2d(2), nn.ReLU())(x))
    assert not MaxPoolReLU().state_dict()


@on_gpu
def test_at_full_size_values_hold(dtype: torch.dtype) -> None:
    x = torch.randn(64, 16, 257, 129, device="cuda").to(dtype, memory_format=torch.channels_last)
    _compare(x, _cotangent(x))


def test_wrong_arguments_are_named() -> None:
    x = torch.ones(1, 2, 4, 4)
    wrong = [
        ((x[0],), ValueError, r"x must be \[N, C, T, F\], got \[2, 4, 4\]"),
        ((x.long(),), TypeError, "x must be floating point, got int64"),
        ((x[:, :, :1],), ValueError, r"x must have at least 2 rows and 2 columns, got \[1, 2, 1, 4\]"),
        ((x[..., :1],), ValueError, r"x must have at least 2 rows and 2 columns, got \[1, 2, 4, 1\]"),
    ]
    assert_refused(max_pool_relu, wrong)
