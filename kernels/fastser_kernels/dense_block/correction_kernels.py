# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Triton kernels of the correction of a gradient for the BatchNorms of all later layers.

`finish_channels_kernel` adds the terms A and B of a layer, and `correct_kernel` applies those of all layers.
"""

import triton
import triton.language as tl
from torch import Tensor, empty, float32

from fastser_kernels.dense_block.forward_kernels import Norm
from fastser_kernels.dense_block.tiles import inverse, quotient
from fastser_kernels.launch import launch
from fastser_kernels.moments_kernels import common_unit

CORRECTED = {"BP": 64, "BC": 32}
"""Positions and channels of a tile."""

ADDED_CHANNELS = {"BP": 64, "BC": 8}
"""Programs and channels of a tile of `finish_channels_kernel`."""

SIZES = (
    "positions", "N", "T", "F", "C_units", "group_units", "maps_f", "source_n", "source_t", "source_f",
    "correction_row", "border", "f_multiplier", "f_shift", "t_multiplier", "t_shift",
)  # fmt: skip
"""Arguments without a binary for each divisibility: UNIT tells the divisibility that matters."""


@triton.jit(do_not_specialize=SIZES)
def correct_kernel(
    source_ptr, maps_ptr, mean_ptr, var_ptr, correction_ptr, target_ptr, eps, positions,
    N, T, F, C_units, group_units, maps_f, source_n, source_t, source_f, correction_row, border,
    f_multiplier, f_shift, t_multiplier, t_shift,
    UNIT: tl.constexpr, CORRECT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write source - A - B xhat and, with a border, zeros around it.

    C_units, group_units and all strides but correction_row count UNITs.
    """
    group = group_units * UNIT
    own = tl.program_id(1) * BC + tl.arange(0, BC)
    c = tl.program_id(2) * group + own
    has_channel = (own < group) & (c < C_units * UNIT)
    position = tl.program_id(0) * BP + tl.arange(0, BP)
    place = position - border * (F + 2)
    row = quotient(tl.maximum(place, 0), f_multiplier, f_shift)
    n = quotient(row, t_multiplier, t_shift)
    t = row - n * (T + border)
    f = place - row * (F + border)
    inside = (place >= 0) & (n < N) & (t < T) & (f < F)
    valid = inside[:, None] & has_channel[None, :]
    at = (n.to(tl.int64) * source_n + t.to(tl.int64) * source_t + f.to(tl.int64) * source_f) * UNIT
    gradient = tl.load(source_ptr + at[:, None] + c[None, :], mask=valid, other=0.0).to(tl.float32)
    if CORRECT:
        at = ((n * T + t) * F + f).to(tl.int64) * (maps_f * UNIT)
        x = tl.load(maps_ptr + at[:, None] + c[None, :], mask=valid, other=0.0).to(tl.float32)
        mean = tl.load(mean_ptr + c, mask=has_channel, other=0.0)
        rstd = tl.rsqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0) + eps)
        a = tl.load(correction_ptr + c, mask=has_channel, other=0.0)
        b = tl.load(correction_ptr + correction_row + c, mask=has_channel, other=0.0)
        gradient -= a[None, :] + (b * rstd)[None, :] * (x - mean[None, :])
    gradient = tl.where(valid, gradient, 0.0).to(target_ptr.dtype.element_ty)
    at = (tl.program_id(2).to(tl.int64) * positions + position) * group
    written = (position < positions)[:, None] & (own < group)[None, :]
    tl.store(target_ptr + at[:, None] + own[None, :], gradient, mask=written)


@triton.jit(do_not_specialize=("pixels", "P", "C_units", "correction_row"))
def finish_channels_kernel(
    sums_ptr, bn_weight_ptr, var_ptr, grad_bn_weight_ptr, grad_bn_bias_ptr, correction_ptr, eps,
    pixels, P, C_units, correction_row,
    UNIT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Add `sums` `[P, 2, C]` over P; C_units counts UNITs."""
    C = C_units * UNIT
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    has_channel = c < C
    sum1 = tl.zeros((BP, BC), tl.float64)
    sum2 = tl.zeros((BP, BC), tl.float64)
    for first in range(0, P, BP):
        program = first + tl.arange(0, BP)
        at = sums_ptr + program.to(tl.int64)[:, None] * 2 * C + c[None, :]
        inside = (program < P)[:, None] & has_channel[None, :]
        sum1 += tl.load(at, mask=inside, other=0.0).to(tl.float64)
        sum2 += tl.load(at + C, mask=inside, other=0.0).to(tl.float64)
    grad_bias = tl.sum(sum1, 0).to(tl.float32)
    grad_weight = tl.sum(sum2, 0).to(tl.float32)
    tl.store(grad_bn_bias_ptr + c, grad_bias.to(grad_bn_bias_ptr.dtype.element_ty), mask=has_channel)
    tl.store(grad_bn_weight_ptr + c, grad_weight.to(grad_bn_weight_ptr.dtype.element_ty), mask=has_channel)
    rstd = tl.rsqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0).to(tl.float32) + eps)
    scale = tl.load(bn_weight_ptr + c, mask=has_channel, other=0.0).to(tl.float32) * rstd / pixels
    a = correction_ptr + c
    b = a + correction_row
    tl.store(a, tl.load(a, mask=has_channel, other=0.0) + scale * grad_bias, mask=has_channel)
    tl.store(b, tl.load(b, mask=has_channel, other=0.0) + scale * grad_weight, mask=has_channel)


def write_corrected(
    source: Tensor,
    maps: Tensor,
    mean: Tensor,
    var: Tensor,
    correction: Tensor,
    target: Tensor,
    own: slice,
    eps: float,
    *,
    correct: bool,
    border: bool,
) -> None:
    """Write the corrected gradient of the maps `own` into `target` `[groups, positions, maps of a group]`.

    Without a border, the positions are the pixels. With a border, each row ends with a zero, each map ends with a row
    of zeros, and the first pixel follows F + 2 zeros. So all neighbours of a pixel have the distances of the
    neighbours of any other pixel, and those outside its map are zeros.
    """
    N, channels, T, F = maps.shape
    C = own.stop - own.start
    groups, positions, group = target.shape
    source_n, _, source_t, source_f = source.stride()
    unit = common_unit(C, group, channels, source_n, source_t, source_f)
    f_multiplier, f_shift = inverse(F + border)
    t_multiplier, t_shift = inverse(T + border)
    launch(
        correct_kernel,
        (triton.cdiv(positions, CORRECTED["BP"]), triton.cdiv(group, CORRECTED["BC"]), groups),
        source_ptr=source[:, own],  # [N, C, T, F]
        maps_ptr=maps[:, own],  # [N, C, T, F], channels_last
        mean_ptr=mean[own],  # [C], or [0] in eval mode
        var_ptr=var[own],  # [C], or [0] in eval mode
        correction_ptr=correction[:, own],  # [2, C]
        target_ptr=target,  # [groups, positions, group]
        eps=eps,
        positions=positions,
        N=N,
        T=T,
        F=F,
        C_units=C // unit,
        group_units=group // unit,
        maps_f=channels // unit,
        source_n=source_n // unit,
        source_t=source_t // unit,
        source_f=source_f // unit,
        correction_row=channels,
        border=int(border),
        f_multiplier=f_multiplier,
        f_shift=f_shift,
        t_multiplier=t_multiplier,
        t_shift=t_shift,
        UNIT=unit,
        CORRECT=correct,
        **CORRECTED,
    )


def finish_channels(
    sums: Tensor, norm: Norm, correction: Tensor, gradients: tuple[Tensor, Tensor] | None, eps: float, pixels: int
) -> None:
    """Add the sums `[P, 2, C]` of a layer to `correction` `[2, channels]`, and write the gradients of BN's parameters.

    Args:
        sums: Sums of dz and dz * xhat by program.
        norm: BatchNorm of the layer.
        correction: Terms A and B of all maps.
        gradients: Targets for the gradients of the scale and the bias, if they are needed.
        eps: Added to the variance.
        pixels: Number of pixels of a map, over all samples.
    """
    P, _, C = sums.shape
    grad_weight, grad_bias = gradients or empty(2, C, dtype=float32, device=sums.device)
    launch(
        finish_channels_kernel,
        (triton.cdiv(C, ADDED_CHANNELS["BC"]),),
        sums_ptr=sums,  # [P, 2, C]
        bn_weight_ptr=norm.weight,  # [C]
        var_ptr=norm.var,  # [C] or more
        grad_bn_weight_ptr=grad_weight,  # [C]
        grad_bn_bias_ptr=grad_bias,  # [C]
        correction_ptr=correction,  # [2, channels]
        eps=eps,
        pixels=pixels,
        P=P,
        C_units=C // common_unit(C),
        correction_row=correction.shape[1],
        UNIT=common_unit(C),
        **ADDED_CHANNELS,
    )
