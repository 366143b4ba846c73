"""2x2 max-pooling with ReLU as one pass of the compiled library for each direction."""

import torch
from torch import Tensor

from fastser_kernels.native.calls import INPUT, INT, OUTPUT, NativeFunction, threads_for

_forward = NativeFunction(
    "max_pool_relu_forward",
    x=INPUT,
    y=OUTPUT,
    chosen=OUTPUT,
    images=INT,
    rows=INT,
    columns=INT,
    channels=INT,
)
_backward = NativeFunction(
    "max_pool_relu_backward",
    grad=INPUT,
    chosen=INPUT,
    grad_x=OUTPUT,
    images=INT,
    rows=INT,
    columns=INT,
    channels=INT,
)


def forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the result and the place of each value in its window."""
    n, channels, t, f = x.shape
    y = _channels_last((n, channels, t // 2, f // 2), x)
    chosen = x.new_empty(n, t // 2, f // 2, channels, dtype=torch.uint8)
    _forward(
        x.dtype,
        x=x.permute(0, 2, 3, 1).contiguous(),
        y=y,
        chosen=chosen,
        images=n,
        rows=t,
        columns=f,
        channels=channels,
        threads=threads_for(x.numel()),
    )
    return y, chosen


def backward(grad: Tensor, chosen: Tensor, rows: int, columns: int) -> Tensor:
    """Return the gradient of the input."""
    n, channels = grad.shape[:2]
    grad_x = _channels_last((n, channels, rows, columns), grad)
    _backward(
        grad.dtype,
        grad=grad.permute(0, 2, 3, 1).contiguous(),
        chosen=chosen.contiguous(),
        grad_x=grad_x,
        images=n,
        rows=rows,
        columns=columns,
        channels=channels,
        threads=threads_for(grad_x.numel()),
    )
    return grad_x


def _channels_last(shape: tuple[int, int, int, int], like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
