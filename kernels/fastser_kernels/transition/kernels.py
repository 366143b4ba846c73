"""Triton kernels of the transition's part on the large map: normalise, ReLU, average over 2x2.

Forward: the two launches of `moments_kernels` (when training), then one that reads the map once and writes the pooled
one. Backward: one for each program's sums of dz and dz * xhat, dz being the gradient of what the ReLU gets, which ATen
adds up, then one that writes grad_x; each reads the map once. In eval mode without parameter gradients only the last is
needed.

The maps that come in have any strides; those that go out are channels_last. A tile is BLOCK_F pooled values in a row by
BLOCK_C channels, and the four values behind each. C and the strides are given in units of UNIT values, a constant (8
where all are divisible by it), so that 16-byte accesses are provable for any such number of channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import launch, relu
from fastser_kernels.moments_kernels import channel_moments, unit

BLOCK_F, BLOCK_C, NUM_WARPS = 16, 64, 4
MAX_PROGRAMS = 1024
"""Programs along the rows that sum, at most."""

SIZES = ("C", "x_n", "x_t", "g_n", "g_t")
"""No binary for each divisibility of these, or of `x_f` and `g_f`: where it matters it is known from the units."""


@triton.jit
def _channels(weight_ptr, bias_ptr, mean_ptr, var_ptr, eps, c, has_channel):
    """Scale, shift, mean and 1 / standard deviation, fp32 [1, BC]."""
    weight = tl.load(weight_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    mean = tl.load(mean_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    rstd = 1.0 / tl.sqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0).to(tl.float32) + eps)
    return weight[None, :], bias[None, :], mean[None, :], rstd[None, :]


@triton.jit(do_not_specialize=(*SIZES, "POOLED_T", "POOLED_F"), do_not_specialize_on_alignment=("x_f",))
def pool_kernel(
    x_ptr, weight_ptr, bias_ptr, mean_ptr, var_ptr, pooled_ptr, eps, C, POOLED_T, POOLED_F, x_n, x_c, x_t, x_f,
    UNIT: tl.constexpr, BF: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(C * UNIT, BC)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    f = (tl.program_id(1) * BF + tl.arange(0, BF)).to(tl.int64)
    has_channel = c < C * UNIT
    inside = (f < POOLED_F)[:, None] & has_channel[None, :]
    weight, bias, mean, rstd = _channels(weight_ptr, bias_ptr, mean_ptr, var_ptr, eps, c, has_channel)
    scale = weight * rstd
    corner = row // POOLED_T * x_n + row % POOLED_T * 2 * x_t
    at = x_ptr + ((corner + f * 2 * x_f) * UNIT)[:, None] + c.to(tl.int64)[None, :] * x_c
    total = tl.zeros((BF, BC), tl.float32)
    for i in tl.static_range(2):
        for j in tl.static_range(2):
            x = tl.load(at + (i * x_t + j * x_f) * UNIT, mask=inside, other=0.0).to(tl.float32)
            total += relu((x - mean) * scale + bias)
    target = pooled_ptr + ((row * POOLED_F + f) * C * UNIT)[:, None] + c[None, :]
    tl.store(target, (total * 0.25).to(pooled_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=(*SIZES, "rows", "POOLED_T", "POOLED_F"), do_not_specialize_on_alignment=("x_f", "g_f"))
def sums_kernel(
    grad_ptr, x_ptr, weight_ptr, bias_ptr, mean_ptr, var_ptr, partial_ptr, eps, rows, C, POOLED_T, POOLED_F,
    g_n, g_c, g_t, g_f, x_n, x_c, x_t, x_f,
    UNIT: tl.constexpr, G_UNIT: tl.constexpr, BF: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Each program writes its sums of dz and dz * xhat: partial `[programs, 2, C]`."""
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    has_channel = c < C * UNIT
    weight, bias, mean, rstd = _channels(weight_ptr, bias_ptr, mean_ptr, var_ptr, eps, c, has_channel)
    sum_dz = tl.zeros((BF, BC), tl.float32)
    sum_dz_xhat = tl.zeros((BF, BC), tl.float32)
    for r in range(tl.program_id(0), rows, tl.num_programs(0)):
        n, t = (r // POOLED_T).to(tl.int64), (r % POOLED_T).to(tl.int64)
        for first in range(0, POOLED_F, BF):
            f = (first + tl.arange(0, BF)).to(tl.int64)
            inside = (f < POOLED_F)[:, None] & has_channel[None, :]
            g_at = ((n * g_n + t * g_t + f * g_f) * G_UNIT)[:, None] + c.to(tl.int64)[None, :] * g_c
            share = tl.load(grad_ptr + g_at, mask=inside, other=0.0).to(tl.float32) * 0.25
            x_at = ((n * x_n + t * 2 * x_t + f * 2 * x_f) * UNIT)[:, None] + c.to(tl.int64)[None, :] * x_c
            for i in tl.static_range(2):
                for j in tl.static_range(2):
                    x = tl.load(x_ptr + x_at + (i * x_t + j * x_f) * UNIT, mask=inside, other=0.0).to(tl.float32)
                    xhat = (x - mean) * rstd
                    dz = tl.where(xhat * weight + bias > 0.0, share, 0.0)
                    sum_dz += dz
                    sum_dz_xhat += dz * xhat
    target = partial_ptr + tl.program_id(0).to(tl.int64) * 2 * C * UNIT + c
    tl.store(target, tl.sum(sum_dz, 0), mask=has_channel)
    tl.store(target + C * UNIT, tl.sum(sum_dz_xhat, 0), mask=has_channel)


@triton.jit(do_not_specialize=(*SIZES, "T", "F"), do_not_specialize_on_alignment=("x_f", "g_f"))
def pool_backward_kernel(
    grad_ptr, x_ptr, weight_ptr, bias_ptr, mean_ptr, var_ptr, sums_ptr, out_ptr, eps, share_of_one, C, T, F,
    g_n, g_c, g_t, g_f, x_n, x_c, x_t, x_f,
    TRAINING: tl.constexpr, UNIT: tl.constexpr, G_UNIT: tl.constexpr, BF: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Rows and columns that the pool drops get a gradient of zero, or what the statistics pass on to them."""
    blocks = tl.cdiv(C * UNIT, BC)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    f = (tl.program_id(1) * BF + tl.arange(0, BF)).to(tl.int64)
    has_channel = c < C * UNIT
    weight, bias, mean, rstd = _channels(weight_ptr, bias_ptr, mean_ptr, var_ptr, eps, c, has_channel)
    scale = weight * rstd
    if TRAINING:
        mean_dz = tl.load(sums_ptr + c, mask=has_channel, other=0.0)[None, :] * share_of_one
        mean_dz_xhat = tl.load(sums_ptr + C * UNIT + c, mask=has_channel, other=0.0)[None, :] * share_of_one
    n, t = row // tl.cdiv(T, 2), row % tl.cdiv(T, 2)
    pooled = (f < F // 2) & (t < T // 2)
    g_at = ((n * g_n + t * g_t + f * g_f) * G_UNIT)[:, None] + c.to(tl.int64)[None, :] * g_c
    share = tl.load(grad_ptr + g_at, mask=pooled[:, None] & has_channel[None, :], other=0.0).to(tl.float32) * 0.25
    for i in tl.static_range(2):
        for j in tl.static_range(2):
            y, z = t * 2 + i, f * 2 + j
            inside = ((z < F) & (y < T))[:, None] & has_channel[None, :]
            x_at = ((n * x_n + y * x_t + z * x_f) * UNIT)[:, None] + c.to(tl.int64)[None, :] * x_c
            x = tl.load(x_ptr + x_at, mask=inside, other=0.0).to(tl.float32)
            xhat = (x - mean) * rstd
            dx = tl.where(xhat * weight + bias > 0.0, share, 0.0)
            if TRAINING:
                dx -= mean_dz + xhat * mean_dz_xhat
            target = out_ptr + (((n * T + y) * F + z) * C * UNIT)[:, None] + c[None, :]
            tl.store(target, (dx * scale).to(out_ptr.dtype.element_ty), mask=inside)


def forward(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pooled maps, and the batch's mean and variance (empty where the running ones hold)."""
    N, C, T, F = x.shape
    none = torch.empty(0, dtype=torch.float32, device=x.device)
    batch_mean, batch_var = channel_moments(x) if training else (none, none.clone())
    statistics = (batch_mean, batch_var) if training else (running_mean, running_var)
    norm = [vector.contiguous() for vector in (bn_weight, bn_bias, *statistics) if vector is not None]
    shape = N, C, T // 2, F // 2
    pooled = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    size, strides = _strides(x, C)
    grid = (N * shape[2] * triton.cdiv(C, BLOCK_C), triton.cdiv(shape[3], BLOCK_F))
    sizes = (C // size, *shape[2:], *strides)
    constants = {"UNIT": size, "BF": BLOCK_F, "BC": BLOCK_C}
    launch(pool_kernel, grid, x, *norm, pooled, eps, *sizes, num_warps=NUM_WARPS, **constants)
    return pooled, batch_mean, batch_var


def backward(
    grad_pooled: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    eps: float,
    input_only: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of `x`, and of scale and shift unless only the former is asked for."""
    N, C, T, F = x.shape
    size, x_strides = _strides(x, C)
    grad_size, grad_strides = _strides(grad_pooled, C)
    strides = *grad_strides, *x_strides
    constants = {"UNIT": size, "G_UNIT": grad_size, "BF": BLOCK_F, "BC": BLOCK_C, "num_warps": NUM_WARPS}
    statistics = (mean, var) if training else (running_mean, running_var)
    norm = [vector.contiguous() for vector in (bn_weight, bn_bias, *statistics) if vector is not None]
    maps = grad_pooled, x, *norm
    channel_blocks = triton.cdiv(C, BLOCK_C)

    sums = torch.empty(0, dtype=torch.float32, device=x.device)
    if training or not input_only:
        rows = N * (T // 2)
        partial = torch.empty(min(rows, MAX_PROGRAMS), 2, C, dtype=torch.float32, device=x.device)
        grid, sizes = (len(partial), channel_blocks), (rows, C // size, T // 2, F // 2)
        launch(sums_kernel, grid, *maps, partial, eps, *sizes, *strides, **constants)
        sums = partial.sum(0)

    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    grid = (N * triton.cdiv(T, 2) * channel_blocks, triton.cdiv(triton.cdiv(F, 2), BLOCK_F))
    share = 1 / max(N * T * F, 1)
    numbers = (eps, share, C // size, T, F, *strides)
    launch(pool_backward_kernel, grid, *maps, sums, grad_x, *numbers, TRAINING=training, **constants)
    parameters = [] if input_only else [sums[1].to(bn_weight.dtype, copy=True), sums[0].to(bn_bias.dtype, copy=True)]
    return grad_x, parameters


def _strides(maps: Tensor, channels: int) -> tuple[int, list[int]]:
    """The unit that sizes and strides are given in, and the strides."""
    n, c, t, f = maps.stride()
    size = unit(channels, n, t, f)
    return size, [n // size, c, t // size, f // size]
