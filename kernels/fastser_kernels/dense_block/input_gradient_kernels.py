# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Triton kernels of the gradient of a layer's input alone.

`input_gradient_kernel` is a product of tiles. Its left operand is the unfolded gradient of the layer's own maps: the
three taps of a row lie side by side in memory, so a row of the operand is three runs of 3 G values. Its right operand
is the kernel, which `pack_kernel` writes once per layer in the order of these columns. The tile of maps is read once,
after the product, for the mask of the ReLU and the sums of dz and dz * xhat.

fp32 operands are multiplied by three tf32 products. The halves of the weights are prepared by `pack_kernel`, those of
the gradient in the loop, in registers.
"""

import triton
import triton.language as tl
from torch import Tensor, empty, float32

from fastser_kernels.dense_block.conversions import as_fp32, split_tf32
from fastser_kernels.dense_block.forward_kernels import Norm
from fastser_kernels.dense_block.tiles import (
    TILE,
    Tiling,
    first_pixel,
    inverse,
    lies_inside,
    pixels_of_tile,
    quotient,
    tiling,
)
from fastser_kernels.launch import dot, fp32_precision, launch
from fastser_kernels.moments_kernels import common_unit

CONFIGURATIONS = {
    2: {"BP": 128, "BC": 64, "BK": 64, "num_warps": 8, "num_stages": 2},
    4: {"BP": 128, "BC": 64, "BK": 32, "num_warps": 8, "num_stages": 2, "chained_products": 3},
}
"""Configurations of `input_gradient_kernel` by bytes of an element."""

PACKED = {"BK": 64, "BC": 16}
"""Columns and channels of a tile of `pack_kernel`."""

SIZES = (
    "N", "T", "F", "C_units", "maps_f", "source_n", "source_t", "source_f", "target_f", "groups", "position_units",
    "blocks", "block_multiplier", "block_shift", *TILE,
)  # fmt: skip
"""Arguments without a binary for each divisibility: UNIT tells the divisibility that matters."""


@triton.jit(do_not_specialize=("G", "C", "channels", "weight_g", "weight_c", "weight_t", "weight_f", "groups"))
def pack_kernel(
    weight_ptr, bn_weight_ptr, bn_bias_ptr, mean_ptr, var_ptr, packed_ptr, low_ptr, vectors_ptr, eps,
    G, C, channels, weight_g, weight_c, weight_t, weight_f, groups,
    GROUP: tl.constexpr, DEPTH: tl.constexpr, SPLIT: tl.constexpr, BK: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write the kernel as `[channels, groups * DEPTH]`, or with SPLIT the two parts of its values.

    For each group of GROUP maps, there are 9 * GROUP columns, and zeros up to DEPTH. The first program of a channel
    also writes its mean, inverse standard deviation, scale and bias, `[4, channels]`. Channels from C on get zeros.
    """
    k = tl.program_id(0) * BK + tl.arange(0, BK)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    column = k % DEPTH
    tap = 8 - column // GROUP
    g = k // DEPTH * GROUP + column % GROUP
    at = g.to(tl.int64) * weight_g + tap // 3 * weight_t + tap % 3 * weight_f
    inside = (tap >= 0) & (g < G)
    at = c.to(tl.int64)[:, None] * weight_c + at[None, :]
    weight = tl.load(weight_ptr + at, mask=(c < C)[:, None] & inside[None, :], other=0.0)
    to = c.to(tl.int64)[:, None] * (groups * DEPTH) + k[None, :]
    written = (k < groups * DEPTH)[None, :]
    if SPLIT:
        high, low = split_tf32(weight.to(tl.float32))
        tl.store(packed_ptr + to, high, mask=written)
        tl.store(low_ptr + to, low, mask=written)
    else:
        tl.store(packed_ptr + to, weight.to(packed_ptr.dtype.element_ty), mask=written)
    if tl.program_id(0) == 0:
        mean = tl.load(mean_ptr + c, mask=c < C, other=0.0).to(tl.float32)
        rstd = tl.rsqrt(tl.load(var_ptr + c, mask=c < C, other=1.0).to(tl.float32) + eps)
        scale = tl.load(bn_weight_ptr + c, mask=c < C, other=0.0).to(tl.float32) * rstd
        tl.store(vectors_ptr + c, mean)
        tl.store(vectors_ptr + channels + c, rstd)
        tl.store(vectors_ptr + 2 * channels + c, scale)
        tl.store(vectors_ptr + 3 * channels + c, tl.load(bn_bias_ptr + c, mask=c < C, other=0.0).to(tl.float32))


@triton.jit(do_not_specialize=SIZES)
def input_gradient_kernel(
    maps_ptr, source_ptr, target_ptr, dy_ptr, packed_ptr, low_ptr, vectors_ptr, sums_ptr,
    N, T, F, C_units, maps_f, source_n, source_t, source_f, target_f, groups, position_units,
    blocks, block_multiplier, block_shift, columns, rows, samples, tiles_f, tiles_t, column_multiplier, column_shift,
    row_multiplier, row_shift, f_multiplier, f_shift, t_multiplier, t_shift,
    UNIT: tl.constexpr, GROUP: tl.constexpr, DEPTH: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr,
    SUMS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the gradient of BC channels of BP pixels to D, and write its sums.

    C_units and the strides count UNITs, position_units counts 8 positions. `packed`, `low` and `vectors` are what
    `pack_kernel` wrote.
    """
    SPLIT: tl.constexpr = dy_ptr.dtype.element_ty == tl.float32 and PRECISION == "tf32x3"
    STEPS: tl.constexpr = DEPTH // BK
    C = C_units * UNIT
    maps_f *= UNIT
    target_f *= UNIT
    source_f *= UNIT
    tile = quotient(tl.program_id(0), block_multiplier, block_shift)
    c = (tl.program_id(0) - tile * blocks) * BC + tl.arange(0, BC)
    n, t, f = first_pixel(tile, columns, rows, samples, tiles_f, tiles_t, f_multiplier, f_shift, t_multiplier, t_shift)
    sample, row, column, packed = pixels_of_tile(
        columns, rows, samples, column_multiplier, column_shift, row_multiplier, row_shift, BP
    )

    dy_ptr += ((n * (T + 1) + t) * (F + 1) + f).to(tl.int64) * GROUP
    at_row = ((sample * (T + 1) + row) * (F + 1) + column) * GROUP
    at_packed = c.to(tl.int64)[None, :] * (groups * DEPTH) + tl.arange(0, BK)[:, None]
    dh = tl.zeros((BP, BC), tl.float32)
    steps = tl.maximum(groups * STEPS, 1)  # with a way past the loop, ptxas would serialise the products (C7515)
    for step in tl.range(0, steps):
        k = step % STEPS * BK + tl.arange(0, BK)
        at_column = k + k // (3 * GROUP) * (F - 2) * GROUP
        at = (
            dy_ptr
            + tl.cast(step // STEPS, tl.int64) * (position_units * 8 * GROUP)
            + at_row[:, None]
            + at_column[None, :]
        )
        window = tl.load(at, mask=(k < 9 * GROUP)[None, :], other=0.0)
        weight = tl.load(packed_ptr + step * BK + at_packed)
        if SPLIT:
            low_weight = tl.load(low_ptr + step * BK + at_packed)
            high, low = split_tf32(window)
            dh = dot(low, weight, dh, "tf32")
            dh = dot(high, low_weight, dh, "tf32")
            dh = dot(high, weight, dh, "tf32")
        else:
            dh = dot(window, weight, dh, PRECISION)

    vectors_ptr += c
    channels = blocks * BC
    mean = tl.load(vectors_ptr)
    scale = tl.load(vectors_ptr + 2 * channels)
    bias = tl.load(vectors_ptr + 3 * channels)
    has_channel = c < C
    inside = lies_inside(packed, N - n, T - t, F - f)
    valid = inside[:, None] & has_channel[None, :]
    pixel = (sample * T + row) * F + column + f
    first = ((n * T + t) * F).to(tl.int64)
    x = as_fp32(tl.load(maps_ptr + first * maps_f + ((pixel * maps_f)[:, None] + c[None, :]), mask=valid, other=0.0))
    at = sample * (source_n * UNIT) + row * (source_t * UNIT) + (column + f) * source_f
    source_ptr += (n.to(tl.int64) * source_n + t.to(tl.int64) * source_t) * UNIT
    gradient = as_fp32(tl.load(source_ptr + (at[:, None] + c[None, :]), mask=valid, other=0.0))
    x = tl.where(tl.program_id(0) < 0, dh, x)  # never: it moves x to the registers of dh, and not a mask of bytes
    centred = x - mean[None, :]
    z = centred * scale[None, :] + bias[None, :]
    dz = tl.where(z > tl.where(inside, 0.0, float("inf"))[:, None], dh, 0.0)
    gradient = (gradient + dz * scale[None, :]).to(target_ptr.dtype.element_ty)
    tl.store(target_ptr + first * target_f + ((pixel * target_f)[:, None] + c[None, :]), gradient, mask=valid)
    if SUMS:
        target = sums_ptr + tile.to(tl.int64) * 2 * C + c
        tl.store(target, tl.sum(dz, 0), mask=has_channel)
        tl.store(target + C, tl.sum(dz * centred, 0) * tl.load(vectors_ptr + channels), mask=has_channel)


def input_tiling(maps: Tensor) -> Tiling:
    """Return the tiles of `input_gradient_kernel`."""
    N, _, T, F = maps.shape
    return tiling(N, T, F, CONFIGURATIONS[maps.element_size()]["BP"])


def _pack(
    weight: Tensor, norm: Norm, eps: float, like: Tensor, groups: int, group: int, depth: int, channels: int
) -> tuple[Tensor, Tensor]:
    """Return the kernel as `[parts, channels, groups * depth]` in the dtype of `like`, and BN's `[4, channels]`."""
    G, C = weight.shape[:2]
    split_in_two = like.dtype == float32 and fp32_precision() == "tf32x3"
    packed = empty(1 + split_in_two, channels, groups * depth, dtype=like.dtype, device=like.device)
    vectors = empty(4, channels, dtype=float32, device=like.device)
    weight_g, weight_c, weight_t, weight_f = weight.stride()
    launch(
        pack_kernel,
        (triton.cdiv(groups * depth, PACKED["BK"]), channels // PACKED["BC"]),
        weight_ptr=weight,  # [G, C, 3, 3]
        bn_weight_ptr=norm.weight,  # [C]
        bn_bias_ptr=norm.bias,  # [C]
        mean_ptr=norm.mean,  # [C] or more
        var_ptr=norm.var,  # [C] or more
        packed_ptr=packed[0],  # [channels, groups * depth]
        low_ptr=packed[-1],  # [channels, groups * depth]
        vectors_ptr=vectors,  # [4, channels]
        eps=eps,
        G=G,
        C=C,
        channels=channels,
        weight_g=weight_g,
        weight_c=weight_c,
        weight_t=weight_t,
        weight_f=weight_f,
        groups=groups,
        GROUP=group,
        DEPTH=depth,
        SPLIT=split_in_two,
        **PACKED,
    )
    return packed, vectors


def add_input_gradient(
    maps: Tensor,
    source: Tensor,
    target: Tensor,
    dy: Tensor,
    weight: Tensor,
    norm: Norm,
    eps: float,
    *,
    sums: bool,
) -> Tensor:
    """Write the sum of `source` and a layer's gradient into `target`; return the sums `[P, 2, C]`, or `[0]`."""
    N, channels, T, F = maps.shape
    C = weight.shape[1]
    groups, positions, group = dy.shape
    configuration = CONFIGURATIONS[maps.element_size()]
    blocks = triton.cdiv(C, configuration["BC"])
    depth = triton.cdiv(9 * group, configuration["BK"]) * configuration["BK"]
    packed, vectors = _pack(weight, norm, eps, maps, groups, group, depth, blocks * configuration["BC"])
    block_multiplier, block_shift = inverse(blocks)
    box = input_tiling(maps)
    source_n, _, source_t, source_f = source.stride()
    unit = common_unit(C, group, channels, target.shape[1], source_n, source_t, source_f)
    result = empty((box.tiles, 2, C) if sums else (0,), dtype=float32, device=maps.device)
    launch(
        input_gradient_kernel,
        (box.tiles * blocks,),
        maps_ptr=maps,  # [N, channels, T, F], channels_last
        source_ptr=source,  # [N, C or more, T, F]
        target_ptr=target,  # [N, C or more, T, F], channels_last
        dy_ptr=dy,  # [groups, positions, group]
        packed_ptr=packed[0],  # [blocks * BC, groups * DEPTH]
        low_ptr=packed[-1],  # [blocks * BC, groups * DEPTH]
        vectors_ptr=vectors,  # [4, blocks * BC]
        sums_ptr=result,  # [tiles, 2, C], or [0]
        N=N,
        T=T,
        F=F,
        C_units=C // unit,
        maps_f=channels // unit,
        source_n=source_n // unit,
        source_t=source_t // unit,
        source_f=source_f // unit,
        target_f=target.shape[1] // unit,
        groups=groups,
        position_units=positions // 8,
        blocks=blocks,
        block_multiplier=block_multiplier,
        block_shift=block_shift,
        **box.arguments(),
        UNIT=unit,
        GROUP=group,
        DEPTH=depth,
        SUMS=sums,
        PRECISION=fp32_precision(),
        **configuration,
    )
    return result
