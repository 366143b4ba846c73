"""2x2 max-pooling with stride 2 and ReLU, which commute: y = relu(max(window)).

An odd last row or column is dropped. The gradient of a value goes to the first largest value of its window if that is
above 0. The forward pass keeps its place as one byte, 0 to 3 row by row, or 4 where no gradient passes. Autograd would
keep the input, which is 16 times as large in float32, and places of eight bytes.

A NaN in a window is its result, and gets the gradient, as in torch. Shapes: x `[N, C, T, F]`, any layout; result
`[N, C, T//2, F//2]`, channels_last in memory.
"""

from typing import Any

import torch
from torch import Tensor

from fastser_kernels.checks import check_floating, check_shape
from fastser_kernels.max_pool_relu import native, reference
from fastser_kernels.registration import has_kernel, operation
from fastser_kernels.transforms import backward_needs_aten, changeable


@operation("max_pool_relu_forward", cpu=native.forward, triton="max_pool_relu.kernels:forward")
def _forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the result and the place of each value in its window, uint8 `[N, T//2, F//2, C]`."""
    n, channels, t, f = x.shape
    y = torch.empty((n, channels, t // 2, f // 2), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    return y, x.new_empty(n, t // 2, f // 2, channels, dtype=torch.uint8)


@operation("max_pool_relu_backward", cpu=native.backward, triton="max_pool_relu.kernels:backward")
def _backward(grad: Tensor, chosen: Tensor, rows: int, columns: int) -> Tensor:
    """Return the gradient of an input of so many rows and columns."""
    n, channels = grad.shape[:2]
    return torch.empty(
        (n, channels, rows, columns), dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last
    )


def ideal_bytes(values: int, itemsize: int) -> int:
    """Return the bytes that must be moved for `values` values of the result, equal for forward and backward.

    Forward: windows of four values read, results and places written. Backward: gradients and places read, windows
    written.
    """
    return values * (5 * itemsize + 1)


class _MaxPoolReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y, chosen = _forward(x)
        ctx.save_for_backward(chosen)
        ctx.size = x.shape[2:]
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (chosen,) = ctx.saved_tensors
        if backward_needs_aten(grad):
            return reference.spread(grad, chosen, *ctx.size)
        return _backward(grad, chosen, *ctx.size)


def max_pool_relu(x: Tensor) -> Tensor:
    """Return the positive part of the largest value of each 2x2 window.

    Args:
        x: Maps `[N, C, T, F]`, floating point, of at least two rows and columns.

    Returns:
        `[N, C, T//2, F//2]` in the dtype of `x`.

    Raises:
        ValueError: If `x` has another number of dimensions, or fewer rows or columns.
        TypeError: If `x` is not floating point.

    Example:
        >>> import torch
        >>> from fastser_kernels import max_pool_relu
        >>> max_pool_relu(torch.tensor([[[[1.0, 3.0, -1.0, -2.0], [2.0, 0.0, -4.0, -3.0]]]])).tolist()
        [[[[3.0, 0.0]]]]
    """
    check_shape("x", x, ["N", "C", "T", "F"])
    check_floating("x", x)
    if x.shape[2] < 2 or x.shape[3] < 2:
        raise ValueError(f"x must have at least 2 rows and 2 columns, got {list(x.shape)}")
    if not has_kernel("max_pool_relu", x):
        return changeable(reference.max_pool_relu(x))
    y: Tensor = _MaxPoolReLU.apply(x)
    return y
