"""Triton kernels of the LSTM's recurrence: all steps of one direction in one launch.

One program runs BLOCK_N sequences from their first step to their last, and keeps the state in registers. Tiles are
`[units, sequences]`, so the warps divide the units among them. Weights that fit are loaded once, before the first step.
Larger weights come from the L2 cache at every step, BLOCK_K columns at a time.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.chips import chip_of
from fastser_kernels.launch import dot, fp32_precision, launch
from fastser_kernels.lstm import aten

BLOCK_N = 16
"""Sequences of one program."""
NUM_WARPS = {16: 1, 32: 2, 64: 4, 128: 8, 256: 8}
"""Warps by the number of units, padded to a power of two."""
BLOCK_K = {2: {16: 16, 32: 32, 64: 64, 128: 128, 256: 16}, 4: {16: 16, 32: 16, 64: 16, 128: 16}}
"""Columns of the weights at a time, by the bytes of a value and the padded number of units.

A number equal to that of the units means weights that are loaded once. Sizes outside the table would spill registers,
so they run in the ATen calls of aten.py.
"""
SHARED_OF_128_UNITS, BLOCK_K_OF_128_UNITS = 148 * 1024, 32
"""Shared memory of the weights of 128 units, in bytes, and the columns at a time on an NVIDIA chip with less."""

MOST_UNITS_ON_AMD_32 = 64
"""Largest padded number of units on AMD's chips with wavefronts of 32 threads, which have half as many registers."""

_PER_BATCH = ("steps", "batch", "reverse")
"""Arguments that change from batch to batch, hence without a binary for each divisibility."""


@triton.jit
def _tanh(x):
    """Return tanh by exp, or by its series near 0, where `1 - exp(-2|x|)` loses its digits."""
    square = x * x
    series = x * (1 + square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835)))))
    decay = tl.exp(-2 * tl.abs(x))
    magnitude = (1 - decay) / (1 + decay)
    return tl.where(square < 0.0625, series, tl.where(x < 0, -magnitude, magnitude))


@triton.jit
def _load_gates(pointer, offset, inside):
    """Load a tile of each gate, `offset` values apart."""
    i = tl.load(pointer, mask=inside, other=0.0)
    f = tl.load(pointer + offset, mask=inside, other=0.0)
    g = tl.load(pointer + 2 * offset, mask=inside, other=0.0)
    o = tl.load(pointer + 3 * offset, mask=inside, other=0.0)
    return i, f, g, o


@triton.jit
def _store_gates(pointer, offset, i, f, g, o, inside):
    dtype = pointer.dtype.element_ty
    tl.store(pointer, i.to(dtype), mask=inside)
    tl.store(pointer + offset, f.to(dtype), mask=inside)
    tl.store(pointer + 2 * offset, g.to(dtype), mask=inside)
    tl.store(pointer + 3 * offset, o.to(dtype), mask=inside)


@triton.jit
def _rows(x, k0, BLOCK_K: tl.constexpr):
    """Return rows k0 to k0 + BLOCK_K of a tile."""
    if x.shape[0] == BLOCK_K:
        return x
    return tl.gather(x, tl.broadcast_to(k0 + tl.arange(0, BLOCK_K)[:, None], [BLOCK_K, x.shape[1]]), 0)


@triton.jit(do_not_specialize=_PER_BATCH)
def recurrence_kernel(
    projected_ptr, w_ptr, hidden_ptr, gates_ptr, cell_ptr, steps, batch, reverse, stride_t, stride_n,
    H: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    unit = tl.arange(0, BLOCK_H)[:, None]
    k = tl.arange(0, BLOCK_K)[None, :]
    n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    inside = (unit < H) & (n < batch)
    dtype = hidden_ptr.dtype.element_ty
    forward = 1 - 2 * reverse
    w = w_ptr + unit * H + k
    if BLOCK_K == BLOCK_H:
        w_i, w_f, w_g, w_o = _load_gates(w, H * H, (unit < H) & (k < H))
    h = tl.zeros([BLOCK_H, BLOCK_N], dtype)
    cell = tl.zeros([BLOCK_H, BLOCK_N], tl.float32)
    for step in range(steps):
        t = (reverse * (steps - 1) + forward * step).to(tl.int64)
        i, f, g, o = _load_gates(projected_ptr + t * stride_t + n * stride_n + unit, H, inside)
        i, f, g, o = i.to(tl.float32), f.to(tl.float32), g.to(tl.float32), o.to(tl.float32)
        for k0 in range(0, H, BLOCK_K):
            if BLOCK_K != BLOCK_H:
                w_i, w_f, w_g, w_o = _load_gates(w + k0, H * H, (unit < H) & (k0 + k < H))
            h_k = _rows(h, k0, BLOCK_K)
            i = dot(w_i, h_k, i, PRECISION)
            f = dot(w_f, h_k, f, PRECISION)
            g = dot(w_g, h_k, g, PRECISION)
            o = dot(w_o, h_k, o, PRECISION)
        i, f, g, o = tl.sigmoid(i), tl.sigmoid(f), _tanh(g), tl.sigmoid(o)
        cell = f * cell + i * g
        h = (o * _tanh(cell)).to(dtype)
        row = t * batch + n
        _store_gates(gates_ptr + row * 4 * H + unit, H, i, f, g, o, inside)
        tl.store(cell_ptr + row * H + unit, cell, mask=inside)
        tl.store(hidden_ptr + row * H + unit, h, mask=inside)


@triton.jit(do_not_specialize=_PER_BATCH)
def recurrence_backward_kernel(
    grad_hidden_ptr, w_ptr, gates_ptr, cell_ptr, grad_projected_ptr, steps, batch, reverse, stride_t, stride_n,
    H: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    unit = tl.arange(0, BLOCK_H)[:, None]
    k = tl.arange(0, BLOCK_K)[None, :]
    n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    inside = (unit < H) & (n < batch)
    dtype = grad_projected_ptr.dtype.element_ty
    forward = 1 - 2 * reverse
    last = ((1 - reverse) * (steps - 1)).to(tl.int64)
    w = w_ptr + k * H + unit
    if BLOCK_K == BLOCK_H:
        w_i, w_f, w_g, w_o = _load_gates(w, H * H, (unit < H) & (k < H))
    cell = tl.load(cell_ptr + (last * batch + n) * H + unit, mask=inside, other=0.0)
    grad_cell = tl.zeros([BLOCK_H, BLOCK_N], tl.float32)
    through_later = tl.zeros([BLOCK_H, BLOCK_N], tl.float32)
    for step in range(steps):
        t = last - forward * step
        row = t * batch + n
        i, f, g, o = _load_gates(gates_ptr + row * 4 * H + unit, H, inside)
        i, f, g, o = i.to(tl.float32), f.to(tl.float32), g.to(tl.float32), o.to(tl.float32)
        earlier = cell_ptr + (row - forward * batch) * H + unit
        cell_before = tl.load(earlier, mask=inside & (step < steps - 1), other=0.0)
        grad_h = tl.load(grad_hidden_ptr + t * stride_t + n * stride_n + unit, mask=inside, other=0.0)
        grad_h = grad_h.to(tl.float32) + through_later
        tanh_cell = _tanh(cell)
        grad_cell += grad_h * o * (1 - tanh_cell * tanh_cell)
        grad_i = (grad_cell * g * i * (1 - i)).to(dtype)
        grad_f = (grad_cell * cell_before * f * (1 - f)).to(dtype)
        grad_g = (grad_cell * i * (1 - g * g)).to(dtype)
        grad_o = (grad_h * tanh_cell * o * (1 - o)).to(dtype)
        _store_gates(grad_projected_ptr + row * 4 * H + unit, H, grad_i, grad_f, grad_g, grad_o, inside)
        grad_cell *= f
        cell = cell_before
        # One accumulator for each product: Triton pipelines two products through one accumulator of a loop wrongly on
        # sm_100 and later (triton issue 10821).
        through_i = tl.zeros([BLOCK_H, BLOCK_N], tl.float32)
        through_f = tl.zeros([BLOCK_H, BLOCK_N], tl.float32)
        through_g = tl.zeros([BLOCK_H, BLOCK_N], tl.float32)
        through_o = tl.zeros([BLOCK_H, BLOCK_N], tl.float32)
        for k0 in range(0, H, BLOCK_K):
            if BLOCK_K != BLOCK_H:
                w_i, w_f, w_g, w_o = _load_gates(w + k0 * H, H * H, (unit < H) & (k0 + k < H))
            through_i = dot(w_i, _rows(grad_i, k0, BLOCK_K), through_i, PRECISION)
            through_f = dot(w_f, _rows(grad_f, k0, BLOCK_K), through_f, PRECISION)
            through_g = dot(w_g, _rows(grad_g, k0, BLOCK_K), through_g, PRECISION)
            through_o = dot(w_o, _rows(grad_o, k0, BLOCK_K), through_o, PRECISION)
        through_later = (through_i + through_f) + (through_g + through_o)


def forward(projected: Tensor, w_hh: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Launch over blocks of sequences. A projection whose gates are not adjacent in memory is copied first."""
    if (configuration := _configuration(w_hh)) is None:
        return aten.forward(projected, w_hh, reverse)
    steps, batch, units = projected.shape[0], projected.shape[1], w_hh.shape[1]
    projected = projected if projected.stride(2) == 1 else projected.contiguous()
    hidden = projected.new_empty(steps, batch, units)
    gates, cell = projected.new_empty(projected.shape), hidden.new_empty(hidden.shape, dtype=torch.float32)
    stride_t, stride_n, _ = projected.stride()
    launch(
        recurrence_kernel,
        (triton.cdiv(batch, BLOCK_N),),
        projected_ptr=projected,  # [T, N, 4H]
        w_ptr=w_hh.contiguous(),  # [4H, H]
        hidden_ptr=hidden,  # [T, N, H]
        gates_ptr=gates,  # [T, N, 4H]
        cell_ptr=cell,  # [T, N, H]
        steps=steps,
        batch=batch,
        reverse=int(reverse),
        stride_t=stride_t,
        stride_n=stride_n,
        H=units,
        **configuration,
    )
    return hidden, gates, cell


def backward(grad_hidden: Tensor, w_hh: Tensor, gates: Tensor, cell: Tensor, reverse: bool) -> Tensor:
    """Launch over blocks of sequences. A gradient whose units are not adjacent in memory is copied first."""
    if (configuration := _configuration(w_hh)) is None:
        return aten.backward(grad_hidden, w_hh, gates, cell, reverse)
    steps, batch, units = cell.shape
    grad_hidden = grad_hidden if grad_hidden.stride(2) == 1 else grad_hidden.contiguous()
    grad_projected = gates.new_empty(gates.shape)
    stride_t, stride_n, _ = grad_hidden.stride()
    launch(
        recurrence_backward_kernel,
        (triton.cdiv(batch, BLOCK_N),),
        grad_hidden_ptr=grad_hidden,  # [T, N, H]
        w_ptr=w_hh.contiguous(),  # [4H, H]
        gates_ptr=gates.contiguous(),  # [T, N, 4H]
        cell_ptr=cell.contiguous(),  # [T, N, H]
        grad_projected_ptr=grad_projected,  # [T, N, 4H]
        steps=steps,
        batch=batch,
        reverse=int(reverse),
        stride_t=stride_t,
        stride_n=stride_n,
        H=units,
        **configuration,
    )
    return grad_projected


def _configuration(w_hh: Tensor) -> dict[str, Any] | None:
    """Return the constants of both kernels, or None for more units than the kernels take."""
    units = max(16, triton.next_power_of_2(w_hh.shape[1]))
    block_k = BLOCK_K[w_hh.element_size()].get(units)
    chip = chip_of(w_hh.device)
    if block_k is None or (units > MOST_UNITS_ON_AMD_32 and chip.on_amd and chip.warp_size == 32):
        return None
    # On AMD's data-center chips, with wavefronts of 64 threads, the weights are in registers.
    if block_k == 128 and not chip.on_amd and chip.shared_memory < SHARED_OF_128_UNITS:
        block_k = BLOCK_K_OF_128_UNITS
    num_stages = 1 if block_k == units else 2
    tiles = {"BLOCK_H": units, "BLOCK_K": block_k, "BLOCK_N": BLOCK_N}
    return {"PRECISION": fp32_precision(), "num_warps": NUM_WARPS[units], "num_stages": num_stages, **tiles}
