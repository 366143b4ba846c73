"""Triton kernels of the DenseBlock's forward pass.

The result is one buffer `[N, T, F, C0 + L*G]`. Every layer writes its slice of it, so nothing is concatenated. A layer
is two kernels. The first prepares the operands of the convolution (operand_kernels.py). The second applies BN and ReLU
when it reads the maps, computes the 3x3 convolution on tensor cores, and takes the moments of the new maps (of the
values as stored) when it writes them. `finish_moments` turns these moments into the statistics that every later layer
reads.

The convolution of a tile of pixels reads each input three times, not nine. The channels of three rows are the common
axis K of one matrix product. The three taps along F are columns of the product. They are shifted against each other and
added once, at the end. Two alternatives are worse. A ring over rows reads each input once but needs nine accumulators,
which fill all registers. A shift of the input instead of the output needs the neighbours of the pixel, and three times
the BN and ReLU.

The loop runs out of instruction issue, so it has neither masks of rows nor statistics. Above the first row and below
the last one it reads a vector that BN and ReLU turn into zeros.

Values per pixel and layer: from memory C_i read and G written; from the L2 cache 3 C_i + 9 C_i G / BM, with fp32
weights in two parts 3 C_i + 18 C_i G / BM.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.dense_block.conversions import as_fp32, split_tf32
from fastser_kernels.dense_block.operand_kernels import (
    BLOCK,
    Norm,
    padded_depth,
    prepare,
    row_of,
)
from fastser_kernels.launch import dot, fp32_precision, launch, relu
from fastser_kernels.moments_kernels import common_unit, copy_maps, finish_moments

__all__ = ["Norm", "forward"]

CONFIGURATIONS = {
    2: {"BM": 256, "BK": 64, "num_warps": 8, "num_stages": 3},
    4: {"BM": 128, "BK": BLOCK.value, "num_warps": 8, "num_stages": 3, "chained_products": 3},
}
"""Configurations by bytes of an element, for any F and C. Those of three stages fit into the 99 KB of sm_86."""


@triton.jit
def split_quads(x, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the rows of the first, second, third and fourth pixel of all quads, `[ROWS / 4, COLUMNS]` each."""
    x = tl.permute(tl.reshape(x, (2, ROWS // 32, 2, 8, COLUMNS)), (1, 3, 4, 2, 0))
    first_half, second_half = tl.split(tl.reshape(x, (ROWS // 4, COLUMNS, 2, 2)))
    first, second = tl.split(first_half)
    third, fourth = tl.split(second_half)
    return first, second, third, fourth


@triton.jit
def split_pair(x, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the first and the second half of the columns."""
    return tl.split(tl.permute(tl.reshape(x, (ROWS, 2, COLUMNS)), (0, 2, 1)))


@triton.jit
def append(maps_ptr, left, middle, right, own, pixel, at, F):
    """Add the taps of one pixel of each quad, store the new maps, and return them as stored, zero where not `own`."""
    f = pixel % F
    total = middle + tl.where((f > 0)[:, None], left, 0.0) + tl.where((f < F - 1)[:, None], right, 0.0)
    result = total.to(maps_ptr.dtype.element_ty)
    tl.store(maps_ptr + at, result, mask=own)
    return tl.where(own, as_fp32(result), 0.0)


@triton.jit(do_not_specialize=("pixels", "T", "F", "C_units", "G_units", "stride_units", "halo"))
def conv_kernel(
    maps_ptr, weight_ptr, affine_ptr, padding_ptr, partial_ptr,
    pixels, T, F, C_units, G_units, stride_units, halo,
    UNIT: tl.constexpr, GP: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
    MOMENTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Append GP of the G new maps. C_units, G_units and stride_units, the channels of the buffer, count UNITs.

    A tile is BM pixels in the order of memory, of which `halo` at both ends belong to the neighbours. Its rows are in
    another order: the four pixels of a quad are the rows that one thread holds of a product, so most neighbours meet
    in registers.
    """
    C = C_units * UNIT
    G = G_units * UNIT
    stride = stride_units * UNIT
    depth = padded_depth(C)
    SPLIT: tl.constexpr = PRECISION == "tf32x3" and maps_ptr.dtype.element_ty == tl.float32
    PARTS: tl.constexpr = 2 if SPLIT else 1
    i = tl.arange(0, BM)
    first = tl.program_id(0) * (BM - 2 * halo)
    pixel = first - halo + 4 * (i // 16 % (BM // 32) * 8 + i % 8) + i // (BM // 2) * 2 + i // 8 % 2
    pixel = tl.minimum(tl.maximum(pixel, 0), pixels - 1)  # nothing reads the products of the others
    t = (pixel.to(tl.uint32) // tl.cast(F, tl.uint32) % tl.cast(T, tl.uint32)).to(tl.int32)
    at_pixel = maps_ptr + pixel.to(tl.int64) * stride
    g = tl.program_id(1) * GP + tl.arange(0, GP)
    has_map = g < G
    j = tl.arange(0, 2 * GP)
    map_of_pair = tl.program_id(1) * GP + j % GP
    has_pair = map_of_pair < G
    pair_rows = (j // GP * G + map_of_pair) * (depth * PARTS)
    right_rows = (2 * G + g) * (depth * PARTS)

    # The compiler waits for the products of a step where the step itself reads them: in the transposes, which cost no
    # instruction, and in the sum with low_right. Without such a reader, the next step overwrites the operand in
    # registers while products still read it.
    pair = tl.zeros((2 * GP, BM), tl.float32)
    right = tl.zeros((GP, BM), tl.float32)
    if SPLIT:
        low_pair = tl.zeros((BM, 2 * GP), tl.float32)
    steps = tl.maximum(tl.cdiv(3 * C, BK), 1)  # with a way past the loop, ptxas would serialise the products (C7515)
    for step in tl.range(0, steps):
        k = step * BK + tl.arange(0, BK)
        row = row_of(k, C)
        readable = (t[:, None] + row[None, :]).to(tl.uint32) < tl.cast(T, tl.uint32)
        at = at_pixel[:, None] + (k - C + row * (F * stride - C))[None, :]
        at = tl.where(readable, at, (padding_ptr + k)[None, :])
        at = tl.max_contiguous(tl.multiple_of(at, (1, 2 * UNIT)), (1, UNIT))  # the select hides the 16-byte accesses
        scale = tl.load(affine_ptr + k)
        shift = tl.load(affine_ptr + depth + k)
        h = relu(as_fp32(tl.load(at)) * scale[None, :] + shift[None, :])
        column = (step * (BK * PARTS) + tl.arange(0, BK))[:, None]
        at_pair = weight_ptr + (column + pair_rows[None, :])
        at_right = weight_ptr + (column + right_rows[None, :])
        pair_weight = tl.load(at_pair, mask=has_pair[None, :], other=0.0)
        right_weight = tl.load(at_right, mask=has_map[None, :], other=0.0)
        if SPLIT:
            high, low = split_tf32(h)
            weight = tl.load(at_pair + BK, mask=has_pair[None, :], other=0.0)
            low_pair = dot(high, weight, low_pair, "tf32")
            low_pair = dot(low, pair_weight, low_pair, "tf32")
            weight = tl.load(at_right + BK, mask=has_map[None, :], other=0.0)
            low_right = dot(high, weight, tl.zeros((BM, GP), tl.float32), "tf32")
            low_right = dot(low, right_weight, low_right, "tf32")
            pair_now = dot(high, pair_weight, tl.trans(pair), "tf32")
            right_now = dot(high, right_weight, tl.trans(right), "tf32") + low_right
        else:
            pair_now = dot(h, pair_weight, tl.trans(pair), PRECISION)
            right_now = dot(h, right_weight, tl.trans(right), PRECISION)
        pair, right = tl.trans(pair_now), tl.trans(right_now)
    pair, right = tl.trans(pair), tl.trans(right)
    if SPLIT:
        pair += low_pair

    pair0, pair1, pair2, pair3 = split_quads(pair, BM, 2 * GP)
    right0, right1, right2, right3 = split_quads(right, BM, GP)
    left0, middle0 = split_pair(pair0, BM // 4, GP)
    left1, middle1 = split_pair(pair1, BM // 4, GP)
    left2, middle2 = split_pair(pair2, BM // 4, GP)
    left3, middle3 = split_pair(pair3, BM // 4, GP)
    quad = tl.arange(0, BM // 4)
    before = tl.gather(left3, tl.broadcast_to(tl.maximum(quad - 1, 0)[:, None], (BM // 4, GP)), 0)
    after = tl.gather(right0, tl.broadcast_to(tl.minimum(quad + 1, BM // 4 - 1)[:, None], (BM // 4, GP)), 0)
    place = 4 * quad
    end = tl.minimum(BM - halo, pixels - first + halo)
    pixel = first - halo + place
    own0 = ((place >= halo) & (place < end))[:, None] & has_map[None, :]
    own1 = (place + 1 < end)[:, None] & has_map[None, :]
    own2 = (place + 2 < end)[:, None] & has_map[None, :]
    own3 = (place + 3 < end)[:, None] & has_map[None, :]
    at = (pixel.to(tl.int64) * stride + C)[:, None] + g[None, :]
    new0 = append(maps_ptr, before, middle0, right1, own0, pixel, at, F)
    new1 = append(maps_ptr, left0, middle1, right2, own1, pixel + 1, at + stride, F)
    new2 = append(maps_ptr, left1, middle2, right3, own2, pixel + 2, at + 2 * stride, F)
    new3 = append(maps_ptr, left2, middle3, after, own3, pixel + 3, at + 3 * stride, F)
    if MOMENTS:
        count = (end - halo).to(tl.float32)
        average = tl.sum(new0 + new1 + new2 + new3, 0) / count
        new0 = tl.where(own0, new0 - average[None, :], 0.0)
        new1 = tl.where(own1, new1 - average[None, :], 0.0)
        new2 = tl.where(own2, new2 - average[None, :], 0.0)
        new3 = tl.where(own3, new3 - average[None, :], 0.0)
        squares = tl.sum(new0 * new0 + new1 * new1 + new2 * new2 + new3 * new3, 0)
        programs = tl.num_programs(0)
        target = partial_ptr + g.to(tl.int64) * programs + tl.program_id(0)
        tl.store(target, tl.zeros_like(average) + count, mask=has_map)
        tl.store(target + G * programs, average, mask=has_map)
        tl.store(target + 2 * G * programs, squares, mask=has_map)


def forward(
    x: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: list[Tensor],
    running_var: list[Tensor],
    conv_weight: list[Tensor],
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch a block: a copy of `x` and two kernels per layer, in training also the statistics of maps that are read.

    Returns:
        The maps `[N, C0 + L*G, T, F]` in the dtype of `x`, channels_last; in training the fp32 mean and biased variance
        of all maps but the last G, in eval mode `[0]`.
    """
    bn_weight, bn_bias, running_mean, running_var = (
        [vector.contiguous() for vector in vectors] for vectors in (bn_weight, bn_bias, running_mean, running_var)
    )
    N, C0, T, F = x.shape
    G, layers = conv_weight[0].shape[0], len(conv_weight)
    read = C0 + (layers - 1) * G
    maps = torch.empty(N, T, F, read + G, dtype=x.dtype, device=x.device).permute(0, 3, 1, 2)
    mean, var = (torch.empty(read if training else 0, dtype=torch.float32, device=x.device) for _ in range(2))
    moments = copy_maps(x, maps[:, :C0], moments=training)
    if training:
        finish_moments(moments, mean[:C0], var[:C0])
    for i, weight in enumerate(conv_weight):
        C = C0 + i * G
        layer_mean, layer_var = (mean, var) if training else (running_mean[i], running_var[i])
        norm = Norm(bn_weight[i], bn_bias[i], layer_mean, layer_var)
        read_later = training and i + 1 < layers
        moments = _layer(maps, C, weight, norm, eps, moments=read_later)
        if read_later:
            finish_moments(moments, mean[C : C + G], var[C : C + G])
    return maps, mean, var


def _layer(maps: Tensor, C: int, weight: Tensor, norm: Norm, eps: float, *, moments: bool) -> Tensor:
    """Append G maps to the first C of `maps`; return their partial moments `[3, G, P]`, or `[0]` without `moments`."""
    N, channels, T, F = maps.shape
    G = weight.shape[0]
    unit = common_unit(C, G, channels)
    GP = 16 if G <= 16 else 32
    configuration = CONFIGURATIONS[maps.element_size()]
    BM = configuration["BM"]
    halo = 0 if BM % F == 0 else 1
    tiles = triton.cdiv(N * T * F, BM - 2 * halo)
    partial = torch.empty((3, G, tiles) if moments else 0, dtype=torch.float32, device=maps.device)
    operands = prepare(weight, norm, eps, maps.dtype)
    launch(
        conv_kernel,
        (tiles, triton.cdiv(G, GP)),
        maps_ptr=maps,  # [N, channels, T, F], channels_last
        weight_ptr=operands.weight,  # [3 * G, K / BLOCK, 1 or 2, BLOCK]
        affine_ptr=operands.affine,  # [2, K]
        padding_ptr=operands.padding,  # [K]
        partial_ptr=partial,  # [3, G, tiles], or [0]
        pixels=N * T * F,
        T=T,
        F=F,
        C_units=C // unit,
        G_units=G // unit,
        stride_units=channels // unit,
        halo=halo,
        UNIT=unit,
        GP=GP,
        MOMENTS=moments,
        PRECISION=fp32_precision(),
        **configuration,
    )
    return partial
