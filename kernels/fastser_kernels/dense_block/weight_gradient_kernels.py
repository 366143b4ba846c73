# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Triton kernels of the gradient of a layer's kernel and, in 16-bit types, of its input in the same pass.

A program of `conv_backward_kernel` owns BC channels and walks over tiles of BP pixels. It unfolds the gradient of the
layer's maps, because that has G maps and not C. `window` `[BP, 9 G]` is read once for two products: `window @ W` (the
gradient of the activation; W stays in shared memory) and `window^T @ relu(z)` (the gradient of the weights, which stays
in registers). Their order of addition is fixed.

The kernel runs out of instruction issue, so its loop has no division, no mask for the pixels of the window and no sum
over pixels. Such a sum stays in registers, one for each pair of rows of a tile, until the end. Loads are issued one
tile ahead. On sm_90, a tile of 64 channels takes 33 instructions per thread and element.
"""

import triton
import triton.language as tl
from torch import Tensor, empty, float32

from fastser_kernels.dense_block.conversions import as_fp32
from fastser_kernels.dense_block.forward_kernels import Norm
from fastser_kernels.dense_block.target import multiplying_unit
from fastser_kernels.dense_block.tiles import TILE, Tiling, first_pixel, lies_inside, pixels_of_tile, tiling
from fastser_kernels.launch import INTERPRETED, dot, fp32_precision, launch
from fastser_kernels.moments_kernels import common_unit

CONFIGURATIONS = {
    2: {"BP": 64, "BC": 64, "num_warps": 8, "num_stages": 2},
    4: {"BP": 32, "BC": 32, "num_warps": 8, "num_stages": 2},
}
"""Configurations of `conv_backward_kernel` by bytes of an element."""

ADDED_WEIGHTS = {"BP": 32, "BE": 128}
"""Programs and weights of a tile of `finish_weights_kernel`."""

SIZES = (
    "tiles", "N", "T", "F", "C_units", "G", "maps_f", "source_n", "source_t", "source_f", "target_f", "first_map",
    "first_program", *TILE,
)  # fmt: skip
"""Arguments without a binary for each divisibility: UNIT tells the divisibility that matters."""


@triton.jit
def pair_sums(x, BP: tl.constexpr, BC: tl.constexpr):
    """Return the sums of rows r and r + 8 of each 16 rows, which tensor cores put into the registers of one thread."""
    return tl.sum(tl.reshape(x, (BP // 16, 2, 8, BC)), 1)


@triton.jit(do_not_specialize=SIZES)
def conv_backward_kernel(
    maps_ptr, source_ptr, target_ptr, dy_ptr, weight_ptr, bn_weight_ptr, bn_bias_ptr, mean_ptr, var_ptr,
    sums_ptr, partial_ptr, eps, tiles, N, T, F, C_units, G, maps_f, source_n, source_t, source_f, target_f,
    first_map, first_program, columns, rows, samples, tiles_f, tiles_t, column_multiplier, column_shift,
    row_multiplier, row_shift, f_multiplier, f_shift, t_multiplier, t_shift,
    UNIT: tl.constexpr, GROUP: tl.constexpr, COLUMNS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    INPUT: tl.constexpr, SUMS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the weight gradients of one group of maps and, with INPUT, add their gradient to D.

    C_units and the strides count UNITs. The weights are `[G, 3, 3, C]` in memory. A column is a tap and one of the
    GROUP maps from first_map on.
    """
    if INTERPRETED:
        MULTIPLIER: tl.constexpr = "warp"
    else:
        MULTIPLIER: tl.constexpr = multiplying_unit()  # type: ignore[no-redef]
    # named stages also move the loads that no product reads; AMD's registers do not hold two tiles
    STAGES: tl.constexpr = 1 if MULTIPLIER == "wavefront" else 2 if INPUT else None
    C = C_units * UNIT
    maps_f *= UNIT
    target_f *= UNIT
    source_f *= UNIT
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    has_channel = c < C
    mean = tl.load(mean_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    rstd = tl.rsqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0).to(tl.float32) + eps)
    scale = tl.load(bn_weight_ptr + c, mask=has_channel, other=0.0).to(tl.float32) * rstd
    bias = tl.load(bn_bias_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    j = tl.arange(0, COLUMNS)
    tap = j // GROUP
    has_column = tap < 9
    if INPUT:
        g = first_map + j % GROUP
        at_weight = ((g * 9 + tap) * C)[:, None] + c[None, :]
        in_kernel = (has_column & (g < G))[:, None] & has_channel[None, :]
        weight = tl.load(weight_ptr + at_weight, mask=in_kernel, other=0.0)
        shift = bias - mean * scale
    if SUMS:
        sum1 = tl.zeros((BP // 16, 8, BC), tl.float32)
        sum2 = tl.zeros((BP // 16, 8, BC), tl.float32)
    grad = tl.zeros((COLUMNS, BC) if MULTIPLIER == "warp group" else (BC, COLUMNS), tl.float32)

    sample, row, column, packed = pixels_of_tile(
        columns, rows, samples, column_multiplier, column_shift, row_multiplier, row_shift, BP
    )
    at_column = ((2 - tap // 3) * (F + 1) + 2 - tap % 3) * GROUP + j % GROUP
    at_window = (((sample * (T + 1) + row) * (F + 1) + column) * GROUP)[:, None] + at_column[None, :]
    pixel = (sample * T + row) * F + column
    at_maps = (pixel * maps_f)[:, None] + c[None, :]
    at_target = (pixel * target_f)[:, None] + c[None, :]
    at_source = (sample * (source_n * UNIT) + row * (source_t * UNIT) + column * source_f)[:, None] + c[None, :]
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), num_stages=STAGES):
        n, t, f = first_pixel(
            tile, columns, rows, samples, tiles_f, tiles_t, f_multiplier, f_shift, t_multiplier, t_shift
        )
        inside = lies_inside(packed, N - n, T - t, F - f)
        valid = inside[:, None] & has_channel[None, :]
        # the row of a tile is a 64-bit number, a place in the row and the tile a 32-bit one: fewer registers
        dy_row = (n * (T + 1) + t).to(tl.int64) * ((F + 1) * GROUP)
        window = tl.load(dy_ptr + dy_row + (at_window + f * GROUP), mask=has_column[None, :], other=0.0)
        maps_row = ((n * T + t) * F).to(tl.int64)
        x = as_fp32(tl.load(maps_ptr + maps_row * maps_f + (at_maps + f * maps_f), mask=valid, other=0.0))
        limit = tl.where(inside, 0.0, float("inf"))[:, None]
        if INPUT:
            z = x * scale[None, :] + shift[None, :]  # the rounding of 16-bit maps hides that of the folded mean
        else:
            centred = x - mean[None, :]
            z = centred * scale[None, :] + bias[None, :]
        h = tl.maximum(z - limit, 0.0)
        if INPUT:
            source_row = (n.to(tl.int64) * source_n + t.to(tl.int64) * source_t) * UNIT
            at = source_ptr + source_row + (at_source + f * source_f)
            gradient = as_fp32(tl.load(at, mask=valid, other=0.0))
            dz = tl.where(z > limit, dot(window, weight, tl.zeros((BP, BC), tl.float32), PRECISION), 0.0)
            gradient = (gradient + dz * scale[None, :]).to(target_ptr.dtype.element_ty)
            tl.store(target_ptr + maps_row * target_f + (at_target + f * target_f), gradient, mask=valid)
            if SUMS:
                sum1 += pair_sums(dz, BP, BC)
                sum2 += pair_sums(dz * x, BP, BC)
        if MULTIPLIER == "warp group":
            grad = dot(tl.trans(window), h.to(window.dtype), grad, PRECISION)
        else:  # a warp copies both operands to its registers, and the window is then loaded ahead as it is
            grad = dot(tl.trans(h.to(window.dtype)), window, grad, PRECISION)
    if SUMS:
        target = sums_ptr + (first_program + tl.program_id(0)).to(tl.int64) * 2 * C + c
        total = tl.sum(tl.sum(sum1, 0), 0)
        tl.store(target, total, mask=has_channel)
        tl.store(target + C, (tl.sum(tl.sum(sum2, 0), 0) - mean * total) * rstd, mask=has_channel)
    at = (tl.program_id(0).to(tl.int64) * (9 * GROUP) + j) * C
    if MULTIPLIER == "warp group":
        tl.store(partial_ptr + at[:, None] + c[None, :], grad, mask=has_column[:, None] & has_channel[None, :])
    else:
        tl.store(partial_ptr + at[None, :] + c[:, None], grad, mask=has_column[None, :] & has_channel[:, None])


@triton.jit(
    do_not_specialize=("P", "C_units", "G_units", "group_units", "first_map", "grad_g", "grad_c", "grad_t", "grad_f")
)
def finish_weights_kernel(
    partial_ptr, grad_ptr, P, C_units, G_units, group_units, first_map, grad_g, grad_c, grad_t, grad_f,
    UNIT: tl.constexpr, BP: tl.constexpr, BE: tl.constexpr,
):  # fmt: skip
    """Add `partial` `[P, 9, group, C]` over P. C_units, G_units and group_units count UNITs, first_map counts maps."""
    C = C_units * UNIT
    group = group_units * UNIT
    values = 9 * group * C
    e = tl.program_id(0) * BE + tl.arange(0, BE)
    total = tl.zeros((BP, BE), tl.float32)
    for first in range(0, P, BP):
        program = first + tl.arange(0, BP)
        inside = (program < P)[:, None] & (e < values)[None, :]
        total += tl.load(partial_ptr + program.to(tl.int64)[:, None] * values + e[None, :], mask=inside, other=0.0)
    tap, g, c = e // C // group, first_map + e // C % group, e % C
    at = g.to(tl.int64) * grad_g + c.to(tl.int64) * grad_c + tap // 3 * grad_t + tap % 3 * grad_f
    tl.store(grad_ptr + at, tl.sum(total, 0).to(grad_ptr.dtype.element_ty), mask=(e < values) & (g < G_units * UNIT))


def weight_tiling(maps: Tensor) -> Tiling:
    """Return the tiles of `conv_backward_kernel`."""
    N, _, T, F = maps.shape
    return tiling(N, T, F, CONFIGURATIONS[maps.element_size()]["BP"])


def write_weight_gradient(
    maps: Tensor,
    source: Tensor,
    target: Tensor,
    dy: Tensor,
    weight: Tensor,
    norm: Norm,
    eps: float,
    grad_weight: Tensor,
    max_programs: int,
    *,
    of_input: bool,
    sums: bool,
) -> Tensor:
    """Write `grad_weight`; with `of_input`, also update `target`, and return the sums `[P, 2, C]`.

    Without `of_input` or `sums`, the result is `[0]`.
    """
    N, channels, T, F = maps.shape
    G, C = weight.shape[:2]
    groups, _, group = dy.shape
    configuration = CONFIGURATIONS[maps.element_size()]
    blocks = triton.cdiv(C, configuration["BC"])
    box = weight_tiling(maps)
    programs = min(max(max_programs // blocks, 1), box.tiles)
    sums = sums and of_input
    result = empty((programs * groups, 2, C) if sums else (0,), dtype=float32, device=maps.device)
    partial = empty(programs, 9, group, C, dtype=float32, device=maps.device)
    grad_g, grad_c, grad_t, grad_f = grad_weight.stride()
    for i in range(groups):
        source_n, _, source_t, source_f = source.stride()
        unit = common_unit(C, group, channels, target.shape[1], source_n, source_t, source_f)
        launch(
            conv_backward_kernel,
            (programs, blocks),
            maps_ptr=maps,  # [N, channels, T, F], channels_last
            source_ptr=source,  # [N, C or more, T, F]
            target_ptr=target,  # [N, C or more, T, F], channels_last
            dy_ptr=dy[i],  # [positions, group]
            weight_ptr=weight,  # [G, C, 3, 3], channels_last
            bn_weight_ptr=norm.weight,  # [C]
            bn_bias_ptr=norm.bias,  # [C]
            mean_ptr=norm.mean,  # [C] or more
            var_ptr=norm.var,  # [C] or more
            sums_ptr=result,  # [P, 2, C], or [0]
            partial_ptr=partial,  # [programs, 9, group, C]
            eps=eps,
            tiles=box.tiles,
            N=N,
            T=T,
            F=F,
            C_units=C // unit,
            G=G,
            maps_f=channels // unit,
            source_n=source_n // unit,
            source_t=source_t // unit,
            source_f=source_f // unit,
            target_f=target.shape[1] // unit,
            first_map=i * group,
            first_program=i * programs,
            **box.arguments(),
            UNIT=unit,
            GROUP=group,
            COLUMNS=max(triton.next_power_of_2(9 * group), 16),
            INPUT=of_input,
            SUMS=sums,
            PRECISION=fp32_precision(),
            **configuration,
        )
        unit = common_unit(C, G, group)
        launch(
            finish_weights_kernel,
            (triton.cdiv(9 * group * C, ADDED_WEIGHTS["BE"]),),
            partial_ptr=partial,  # [programs, 9, group, C]
            grad_ptr=grad_weight,  # [G, C, 3, 3]
            P=programs,
            C_units=C // unit,
            G_units=G // unit,
            group_units=group // unit,
            first_map=i * group,
            grad_g=grad_g,
            grad_c=grad_c,
            grad_t=grad_t,
            grad_f=grad_f,
            UNIT=unit,
            **ADDED_WEIGHTS,
        )
        source = target
    return result
