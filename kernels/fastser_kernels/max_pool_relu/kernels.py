"""Triton kernels of 2x2 max-pooling with ReLU.

A program works on a part of a row of the result. In channels_last, the window of value v of a row, in pixel v // C,
begins at value v + (v // C) C of the row of the input.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import launch, relu

BLOCK, NUM_WARPS = 1024, 4

_SIZES = ("rows", "pooled_rows")
"""Arguments whose divisibility changes no memory access, hence without a binary for each."""


@triton.jit
def _input_row(row, pooled_rows, rows):
    """Return the first input row of a row of the result."""
    return row // pooled_rows * rows + 2 * (row % pooled_rows)


@triton.jit
def _later(value, most):
    """Return whether `value` wins over an earlier one; a NaN does, as in torch."""
    return (value > most) | (value != value)


@triton.jit(do_not_specialize=_SIZES)
def pool_kernel(x_ptr, y_ptr, chosen_ptr, rows, pooled_rows, values, pooled_values, C, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    v = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = v < pooled_values
    window = x_ptr + _input_row(row, pooled_rows, rows) * values + v + (v // C) * C
    most = tl.load(window, mask=inside, other=0.0).to(tl.float32)
    place = tl.zeros([BLOCK], tl.int32)
    for p in tl.static_range(1, 4):
        value = tl.load(window + (p % 2) * C + (p // 2) * values, mask=inside, other=0.0).to(tl.float32)
        later = _later(value, most)
        most = tl.where(later, value, most)
        place = tl.where(later, p, place)
    place = tl.where(most <= 0.0, 4, place)
    at = row * pooled_values + v
    tl.store(y_ptr + at, relu(most).to(y_ptr.dtype.element_ty), mask=inside)
    tl.store(chosen_ptr + at, place.to(tl.uint8), mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def spread_kernel(grad_ptr, chosen_ptr, grad_x_ptr, rows, pooled_rows, values, pooled_values, C, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    v = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = v < pooled_values
    at = row * pooled_values + v
    grad = tl.load(grad_ptr + at, mask=inside, other=0.0)
    place = tl.load(chosen_ptr + at, mask=inside, other=4).to(tl.int32)
    window = grad_x_ptr + _input_row(row, pooled_rows, rows) * values + v + (v // C) * C
    for p in tl.static_range(4):
        passed = tl.where(place == p, grad, 0.0).to(grad.dtype)
        tl.store(window + (p % 2) * C + (p // 2) * values, passed, mask=inside)


def forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """Launch over the rows of the result. Maps that are not channels_last are copied first."""
    n, channels, t, f = x.shape
    y = _channels_last((n, channels, t // 2, f // 2), x)
    chosen = x.new_empty(n, t // 2, f // 2, channels, dtype=torch.uint8)
    launch(
        pool_kernel,
        (n * (t // 2), triton.cdiv(f // 2 * channels, BLOCK)),
        x_ptr=x.permute(0, 2, 3, 1).contiguous(),  # [N, T, F, C]
        y_ptr=y,  # [N, T//2, F//2, C]
        chosen_ptr=chosen,  # [N, T//2, F//2, C]
        rows=t,
        pooled_rows=t // 2,
        values=f * channels,
        pooled_values=f // 2 * channels,
        C=channels,
        BLOCK=BLOCK,
        num_warps=NUM_WARPS,
    )
    return y, chosen


def backward(grad: Tensor, chosen: Tensor, rows: int, columns: int) -> Tensor:
    """Launch over the rows of the result. A gradient that is not channels_last is copied first."""
    n, channels, pooled_rows, pooled_columns = grad.shape
    grad_x = _channels_last((n, channels, rows, columns), grad)
    if rows % 2 or columns % 2:
        grad_x.zero_()
    launch(
        spread_kernel,
        (n * pooled_rows, triton.cdiv(pooled_columns * channels, BLOCK)),
        grad_ptr=grad.permute(0, 2, 3, 1).contiguous(),  # [N, T//2, F//2, C]
        chosen_ptr=chosen.contiguous(),  # [N, T//2, F//2, C]
        grad_x_ptr=grad_x,  # [N, T, F, C]
        rows=rows,
        pooled_rows=pooled_rows,
        values=columns * channels,
        pooled_values=pooled_columns * channels,
        C=channels,
        BLOCK=BLOCK,
        num_warps=NUM_WARPS,
    )
    return grad_x


def _channels_last(shape: tuple[int, int, int, int], like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
