"""Triton kernels of BN, ReLU and the mean of each cell of SIDE x SIDE pixels: 1 for maps, 2 for 2x2 average pooling.

Forward: the two launches of `moments_kernels` (in training only), then one that reads the maps once and writes the
results. Backward: one launch writes the sums of dz and dz * xhat of each program, where dz is the gradient before the
ReLU, and ATen adds them up. A second launch writes grad_x. Each reads the maps once. Eval mode without parameter
gradients needs the second launch only.

Input maps have any strides, output maps are channels_last. A tile is BLOCK_F results in a row by BLOCK_C channels, and
the values behind each. C_units, x_n, x_t and x_f count UNITs of values, g_n, g_t and g_f count G_UNITs; x_c and g_c
count values. A unit is a constant: 8 if it divides all sizes, else 1. So 16-byte accesses are provable for any such
number of channels.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import launch, relu
from fastser_kernels.moments_kernels import channel_moments, common_unit

BLOCK_F, BLOCK_C, NUM_WARPS = 16, 64, 4
MAX_PROGRAMS = 1024
"""Largest number of programs that sum over the rows."""

SIZES = ("C_units", "x_n", "x_t", "g_n", "g_t")
"""Arguments without a binary for each divisibility, like x_f and g_f: the units tell the divisibility that matters."""


@triton.jit
def _channels(weight_ptr, bias_ptr, mean_ptr, var_ptr, eps, c, has_channel):
    """Return scale, shift, mean and 1 / standard deviation, fp32 [1, BC] each."""
    weight = tl.load(weight_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    mean = tl.load(mean_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    rstd = 1.0 / tl.sqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0).to(tl.float32) + eps)
    return weight[None, :], bias[None, :], mean[None, :], rstd[None, :]


@triton.jit(do_not_specialize=(*SIZES, "POOLED_T", "POOLED_F"), do_not_specialize_on_alignment=("x_f",))
def pool_kernel(
    x_ptr, weight_ptr, bias_ptr, mean_ptr, var_ptr, pooled_ptr, eps, C_units, POOLED_T, POOLED_F, x_n, x_c, x_t, x_f,
    SIDE: tl.constexpr, UNIT: tl.constexpr, BF: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write BF results in a row by BC channels."""
    blocks = tl.cdiv(C_units * UNIT, BC)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    f = (tl.program_id(1) * BF + tl.arange(0, BF)).to(tl.int64)
    has_channel = c < C_units * UNIT
    inside = (f < POOLED_F)[:, None] & has_channel[None, :]
    weight, bias, mean, rstd = _channels(weight_ptr, bias_ptr, mean_ptr, var_ptr, eps, c, has_channel)
    scale = weight * rstd
    corner = row // POOLED_T * x_n + row % POOLED_T * SIDE * x_t
    at = x_ptr + ((corner + f * SIDE * x_f) * UNIT)[:, None] + c.to(tl.int64)[None, :] * x_c
    total = tl.zeros((BF, BC), tl.float32)
    for i in tl.static_range(SIDE):
        for j in tl.static_range(SIDE):
            x = tl.load(at + (i * x_t + j * x_f) * UNIT, mask=inside, other=0.0).to(tl.float32)
            total += relu((x - mean) * scale + bias)
    target = pooled_ptr + ((row * POOLED_F + f) * C_units * UNIT)[:, None] + c[None, :]
    tl.store(target, (total * (1.0 / (SIDE * SIDE))).to(pooled_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=(*SIZES, "rows", "POOLED_T", "POOLED_F"), do_not_specialize_on_alignment=("x_f", "g_f"))
def sums_kernel(
    grad_ptr, x_ptr, weight_ptr, bias_ptr, mean_ptr, var_ptr, partial_ptr, eps, rows, C_units, POOLED_T, POOLED_F,
    g_n, g_c, g_t, g_f, x_n, x_c, x_t, x_f,
    SIDE: tl.constexpr, UNIT: tl.constexpr, G_UNIT: tl.constexpr, BF: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write the sums of dz and dz * xhat of each program: partial `[programs, 2, C]`."""
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    has_channel = c < C_units * UNIT
    weight, bias, mean, rstd = _channels(weight_ptr, bias_ptr, mean_ptr, var_ptr, eps, c, has_channel)
    sum_dz = tl.zeros((BF, BC), tl.float32)
    sum_dz_xhat = tl.zeros((BF, BC), tl.float32)
    for r in range(tl.program_id(0), rows, tl.num_programs(0)):
        n, t = (r // POOLED_T).to(tl.int64), (r % POOLED_T).to(tl.int64)
        for first in range(0, POOLED_F, BF):
            f = (first + tl.arange(0, BF)).to(tl.int64)
            inside = (f < POOLED_F)[:, None] & has_channel[None, :]
            g_at = ((n * g_n + t * g_t + f * g_f) * G_UNIT)[:, None] + c.to(tl.int64)[None, :] * g_c
            share = tl.load(grad_ptr + g_at, mask=inside, other=0.0).to(tl.float32) * (1.0 / (SIDE * SIDE))
            x_at = ((n * x_n + t * SIDE * x_t + f * SIDE * x_f) * UNIT)[:, None] + c.to(tl.int64)[None, :] * x_c
            for i in tl.static_range(SIDE):
                for j in tl.static_range(SIDE):
                    x = tl.load(x_ptr + x_at + (i * x_t + j * x_f) * UNIT, mask=inside, other=0.0).to(tl.float32)
                    xhat = (x - mean) * rstd
                    dz = tl.where(xhat * weight + bias > 0.0, share, 0.0)
                    sum_dz += dz
                    sum_dz_xhat += dz * xhat
    target = partial_ptr + tl.program_id(0).to(tl.int64) * 2 * C_units * UNIT + c
    tl.store(target, tl.sum(sum_dz, 0), mask=has_channel)
    tl.store(target + C_units * UNIT, tl.sum(sum_dz_xhat, 0), mask=has_channel)


@triton.jit(do_not_specialize=(*SIZES, "T", "F"), do_not_specialize_on_alignment=("x_f", "g_f"))
def pool_backward_kernel(
    grad_ptr, x_ptr, weight_ptr, bias_ptr, mean_ptr, var_ptr, sums_ptr, out_ptr, eps, share_of_one, C_units, T, F,
    g_n, g_c, g_t, g_f, x_n, x_c, x_t, x_f,
    TRAINING: tl.constexpr, SIDE: tl.constexpr, UNIT: tl.constexpr, G_UNIT: tl.constexpr,
    BF: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write grad_x. A row or column that the pool drops gets the gradient of the statistics alone, zero in eval."""
    blocks = tl.cdiv(C_units * UNIT, BC)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    f = (tl.program_id(1) * BF + tl.arange(0, BF)).to(tl.int64)
    has_channel = c < C_units * UNIT
    weight, bias, mean, rstd = _channels(weight_ptr, bias_ptr, mean_ptr, var_ptr, eps, c, has_channel)
    scale = weight * rstd
    if TRAINING:
        mean_dz = tl.load(sums_ptr + c, mask=has_channel, other=0.0)[None, :] * share_of_one
        mean_dz_xhat = tl.load(sums_ptr + C_units * UNIT + c, mask=has_channel, other=0.0)[None, :] * share_of_one
    n, t = row // tl.cdiv(T, SIDE), row % tl.cdiv(T, SIDE)
    pooled = (f < F // SIDE) & (t < T // SIDE)
    g_at = ((n * g_n + t * g_t + f * g_f) * G_UNIT)[:, None] + c.to(tl.int64)[None, :] * g_c
    share = tl.load(grad_ptr + g_at, mask=pooled[:, None] & has_channel[None, :], other=0.0).to(tl.float32) * (
        1.0 / (SIDE * SIDE)
    )
    for i in tl.static_range(SIDE):
        for j in tl.static_range(SIDE):
            y, z = t * SIDE + i, f * SIDE + j
            inside = ((z < F) & (y < T))[:, None] & has_channel[None, :]
            x_at = ((n * x_n + y * x_t + z * x_f) * UNIT)[:, None] + c.to(tl.int64)[None, :] * x_c
            x = tl.load(x_ptr + x_at, mask=inside, other=0.0).to(tl.float32)
            xhat = (x - mean) * rstd
            dx = tl.where(xhat * weight + bias > 0.0, share, 0.0)
            if TRAINING:
                dx -= mean_dz + xhat * mean_dz_xhat
            target = out_ptr + (((n * T + y) * F + z) * C_units * UNIT)[:, None] + c[None, :]
            tl.store(target, (dx * scale).to(out_ptr.dtype.element_ty), mask=inside)


def forward(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    side: int,
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the means of all cells, and mean and variance of the batch (`[0]` in eval mode)."""
    N, C, T, F = x.shape
    none = torch.empty(0, dtype=torch.float32, device=x.device)
    batch_mean, batch_var = channel_moments(x) if training else (none, none.clone())
    shape = N, C, T // side, F // side
    pooled = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    unit, strides = _strides(x, C, "x")
    launch(
        pool_kernel,
        (N * (T // side) * triton.cdiv(C, BLOCK_C), triton.cdiv(F // side, BLOCK_F)),
        x_ptr=x,  # [N, C, T, F]
        **_norm(bn_weight, bn_bias, *((batch_mean, batch_var) if training else (running_mean, running_var))),
        pooled_ptr=pooled,  # [N, C, T // side, F // side], channels_last
        eps=eps,
        C_units=C // unit,
        POOLED_T=T // side,
        POOLED_F=F // side,
        **strides,
        SIDE=side,
        UNIT=unit,
        BF=BLOCK_F,
        BC=BLOCK_C,
        num_warps=NUM_WARPS,
    )
    return pooled, batch_mean, batch_var


def backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    side: int,
    training: bool,
    eps: float,
    input_only: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Return the gradient of `x`, and those of scale and shift unless `input_only`."""
    N, C, T, F = x.shape
    unit, x_strides = _strides(x, C, "x")
    grad_unit, grad_strides = _strides(grad, C, "g")
    channel_blocks = triton.cdiv(C, BLOCK_C)
    shared: dict[str, Any] = {
        "grad_ptr": grad,  # [N, C, T // side, F // side]
        "x_ptr": x,  # [N, C, T, F]
        **_norm(bn_weight, bn_bias, *((mean, var) if training else (running_mean, running_var))),
        "eps": eps,
        "C_units": C // unit,
        **grad_strides,
        **x_strides,
        "SIDE": side,
        "UNIT": unit,
        "G_UNIT": grad_unit,
        "BF": BLOCK_F,
        "BC": BLOCK_C,
        "num_warps": NUM_WARPS,
    }

    sums = torch.empty(0, dtype=torch.float32, device=x.device)
    if training or not input_only:
        rows = N * (T // side)
        partial = torch.empty(min(rows, MAX_PROGRAMS), 2, C, dtype=torch.float32, device=x.device)
        launch(
            sums_kernel,
            (len(partial), channel_blocks),
            partial_ptr=partial,  # [programs, 2, C]
            rows=rows,
            POOLED_T=T // side,
            POOLED_F=F // side,
            **shared,
        )
        sums = partial.sum(0)

    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    launch(
        pool_backward_kernel,
        (N * triton.cdiv(T, side) * channel_blocks, triton.cdiv(triton.cdiv(F, side), BLOCK_F)),
        sums_ptr=sums,  # [2, C], or [0]
        out_ptr=grad_x,  # [N, C, T, F], channels_last
        share_of_one=1 / max(N * T * F, 1),
        T=T,
        F=F,
        TRAINING=training,
        **shared,
    )
    if input_only:
        return grad_x, []
    sum_dz, sum_dz_xhat = sums
    return grad_x, [sum_dz_xhat.to(bn_weight.dtype, copy=True), sum_dz.to(bn_bias.dtype, copy=True)]


def _norm(weight: Tensor, bias: Tensor, mean: Tensor | None, var: Tensor | None) -> dict[str, Any]:
    """Return the arguments of a kernel that normalise, `[C]` each."""
    vectors = {"weight_ptr": weight, "bias_ptr": bias, "mean_ptr": mean, "var_ptr": var}
    return {name: vector.contiguous() for name, vector in vectors.items() if vector is not None}


def _strides(maps: Tensor, channels: int, prefix: str) -> tuple[int, dict[str, int]]:
    """Return the unit of the maps, and their strides by the names that a kernel gives them.

    The stride of the channels counts values, the other three count units.
    """
    n, c, t, f = maps.stride()
    unit = common_unit(channels, n, t, f)
    return unit, {f"{prefix}_n": n // unit, f"{prefix}_c": c, f"{prefix}_t": t // unit, f"{prefix}_f": f // unit}
