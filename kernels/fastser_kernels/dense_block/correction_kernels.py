# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Triton kernel that corrects the gradient of some maps for the BatchNorms of all later layers."""

import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import launch
from fastser_kernels.moments_kernels import common_unit

CORRECTED = {"BP": 64, "BC": 32}
"""Positions and channels of a tile."""

SIZES = (
    "positions", "T", "F", "C_units", "maps_f", "source_n", "source_t", "source_f", "target_f", "correction_row",
    "border",
)  # fmt: skip
"""Arguments without a binary for each divisibility: UNIT tells the divisibility that matters."""


@triton.jit(do_not_specialize=SIZES)
def correct_kernel(
    source_ptr, maps_ptr, mean_ptr, var_ptr, correction_ptr, target_ptr, eps, positions,
    T, F, C_units, maps_f, source_n, source_t, source_f, target_f, correction_row, border,
    UNIT: tl.constexpr, CORRECT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write source - A - B xhat, with `border` zeros around each map.

    C_units and all strides but correction_row count UNITs.
    """
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    has_channel = c < C_units * UNIT
    position = tl.program_id(0) * BP + tl.arange(0, BP)
    f = position % (F + 2 * border) - border
    row = position // (F + 2 * border)
    t = row % (T + 2 * border) - border
    n = (row // (T + 2 * border)).to(tl.int64)
    inside = (position < positions) & (t >= 0) & (t < T) & (f >= 0) & (f < F)
    valid = inside[:, None] & has_channel[None, :]
    at = (n * source_n + t.to(tl.int64) * source_t + f.to(tl.int64) * source_f) * UNIT
    gradient = tl.load(source_ptr + at[:, None] + c[None, :], mask=valid, other=0.0).to(tl.float32)
    if CORRECT:
        at = ((n * T + t) * F + f) * (maps_f * UNIT)
        x = tl.load(maps_ptr + at[:, None] + c[None, :], mask=valid, other=0.0).to(tl.float32)
        mean = tl.load(mean_ptr + c, mask=has_channel, other=0.0)
        rstd = tl.rsqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0) + eps)
        a = tl.load(correction_ptr + c, mask=has_channel, other=0.0)
        b = tl.load(correction_ptr + correction_row + c, mask=has_channel, other=0.0)
        gradient -= a[None, :] + (b * rstd)[None, :] * (x - mean[None, :])
    gradient = tl.where(inside[:, None], gradient, 0.0).to(target_ptr.dtype.element_ty)
    at = position.to(tl.int64) * (target_f * UNIT)
    written = (position < positions)[:, None] & has_channel[None, :]
    tl.store(target_ptr + at[:, None] + c[None, :], gradient, mask=written)


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
) -> None:
    """Write the corrected gradient of the maps `own` into `target`, which may be larger by a border."""
    channels, T, F = maps.shape[1:]
    C = target.shape[1]
    border = (target.shape[2] - T) // 2
    positions = target.numel() // C
    source_n, _, source_t, source_f = source.stride()
    unit = common_unit(C, channels, source_n, source_t, source_f)
    launch(
        correct_kernel,
        (triton.cdiv(positions, CORRECTED["BP"]), triton.cdiv(C, CORRECTED["BC"])),
        source_ptr=source[:, own],  # [N, C, T, F]
        maps_ptr=maps[:, own],  # [N, C, T, F], channels_last
        mean_ptr=mean[own],  # [C], or [0] in eval mode
        var_ptr=var[own],  # [C], or [0] in eval mode
        correction_ptr=correction[:, own],  # [2, C]
        target_ptr=target,  # [N, C, T + 2 * border, F + 2 * border], channels_last
        eps=eps,
        positions=positions,
        T=T,
        F=F,
        C_units=C // unit,
        maps_f=channels // unit,
        source_n=source_n // unit,
        source_t=source_t // unit,
        source_f=source_f // unit,
        target_f=C // unit,
        correction_row=channels,
        border=border,
        UNIT=unit,
        CORRECT=correct,
        **CORRECTED,
    )
