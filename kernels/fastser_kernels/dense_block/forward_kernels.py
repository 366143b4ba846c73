"""Triton kernels of the DenseBlock's forward pass.

The result is one buffer `[N, T, F, C0 + L*G]`. Every layer writes its slice of it, so nothing is concatenated. A layer
is one kernel. It applies BN and ReLU when it reads the maps, computes the 3x3 convolution on tensor cores, and takes
the moments of the new maps (of the values as stored) when it writes them. `finish_moments` turns these moments into the
statistics that every later layer reads.

The convolution of a tile of whole rows reads each input three times, not nine. It loads the rows above, at and below
the tile. The three taps along F go to three accumulators, which are shifted against each other and added once, at the
end. Two alternatives are worse. A ring over rows reads each input once but needs nine accumulators, which fill all
registers. A shift of the input instead of the output needs the neighbours of the row, and three times the BN and ReLU.
There is one loop over channels and rows, and only the accumulators are carried through it, because Triton 3.7 issues
loads ahead only if their addresses follow from the loop variable.

Values per pixel and layer: from memory C_i read and G written; from the L2 cache 3 C_i + 9 C_i G / BM. The padding is
zero after the activation, so the mask comes after the ReLU.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import dot, fp32_precision, launch, relu
from fastser_kernels.moments_kernels import common_unit, copy_maps, finish_moments

CONFIGURATIONS = {
    (2, 16): {"BM": 128, "BK": 32, "num_warps": 8, "num_stages": 3},
    (2, 32): {"BM": 256, "BK": 32, "num_warps": 8, "num_stages": 3},
    (4, 16): {"BM": 128, "BK": 16, "num_warps": 8, "num_stages": 3},
    (4, 32): {"BM": 64, "BK": 16, "num_warps": 8, "num_stages": 3},
}
"""Configurations by bytes of an element and width of the accumulators, 16 or 32 new maps; for any F and any C."""


class Norm(NamedTuple):
    """The BatchNorm of one layer: scale and shift `[C]`, mean and biased variance of C or more channels."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    var: Tensor


@triton.jit(do_not_specialize=("rows", "T", "F", "C_units", "G_units", "stride_units", "width", "halo"))
def conv_kernel(
    maps_ptr, weight_ptr, bn_weight_ptr, bn_bias_ptr, mean_ptr, var_ptr, partial_ptr, eps,
    rows, T, F, C_units, G_units, stride_units, width, halo,
    UNIT: tl.constexpr, GP: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
    MOMENTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Append GP of the G new maps. C_units, G_units and stride_units, the channels of the buffer, count UNITs.

    The weights are `[G, 3, 3, C]` in memory. A tile is BM // width rows of `width` columns, of which `halo` at both
    ends belong to the neighbours.
    """
    C = C_units * UNIT
    G = G_units * UNIT
    stride = stride_units * UNIT
    i = tl.arange(0, BM)
    row = tl.program_id(0) * (BM // width) + i // width
    column = i % width
    t = row % T
    f = tl.program_id(1) * (width - 2 * halo) - halo + column
    inside = (i < BM // width * width) & (row < rows) & (f >= 0) & (f < F)
    pixel = (row.to(tl.int64) * F + f) * stride
    g = tl.program_id(2) * GP + tl.arange(0, GP)
    has_map = g < G

    left = tl.zeros((BM, GP), tl.float32)
    middle = tl.zeros((BM, GP), tl.float32)
    right = tl.zeros((BM, GP), tl.float32)
    for step in tl.range(0, 3 * tl.cdiv(C, BK)):
        shift = step % 3 - 1
        c = step // 3 * BK + tl.arange(0, BK)
        has_channel = c < C
        readable = inside & (t + shift >= 0) & (t + shift < T)
        at = maps_ptr + (pixel + shift * F * stride)[:, None] + c[None, :]
        value = tl.load(at, mask=readable[:, None] & has_channel[None, :], other=0.0).to(tl.float32)
        mean = tl.load(mean_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
        var = tl.load(var_ptr + c, mask=has_channel, other=1.0).to(tl.float32)
        scale = tl.load(bn_weight_ptr + c, mask=has_channel, other=0.0).to(tl.float32) * tl.rsqrt(var + eps)
        bias = tl.load(bn_bias_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
        z = (value - mean[None, :]) * scale[None, :] + bias[None, :]
        h = tl.where(readable[:, None], relu(z), 0.0)
        tap = weight_ptr + (c + (3 + 3 * shift) * C)[:, None] + (g * 9)[None, :] * C
        weighted = has_channel[:, None] & has_map[None, :]
        left = dot(h, tl.load(tap, mask=weighted, other=0.0), left, PRECISION)
        middle = dot(h, tl.load(tap + C, mask=weighted, other=0.0), middle, PRECISION)
        right = dot(h, tl.load(tap + 2 * C, mask=weighted, other=0.0), right, PRECISION)
    before = tl.broadcast_to(tl.maximum(i - 1, 0)[:, None], (BM, GP))
    after = tl.broadcast_to(tl.minimum(i + 1, BM - 1)[:, None], (BM, GP))
    total = middle + tl.where((f > 0)[:, None], tl.gather(left, before, 0), 0.0)
    total += tl.where((f < F - 1)[:, None], tl.gather(right, after, 0), 0.0)
    result = total.to(maps_ptr.dtype.element_ty)
    own = inside & (column >= halo) & (column < width - halo)
    written = own[:, None] & has_map[None, :]
    tl.store(maps_ptr + (pixel + C)[:, None] + g[None, :], result, mask=written)
    if MOMENTS:
        count = tl.sum(own.to(tl.float32), 0)
        average = tl.sum(tl.where(written, result.to(tl.float32), 0.0), 0) / tl.maximum(count, 1.0)
        distance = tl.where(written, result.to(tl.float32) - average[None, :], 0.0)
        programs = tl.num_programs(0) * tl.num_programs(1)
        target = partial_ptr + g.to(tl.int64) * programs + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        tl.store(target, tl.zeros_like(average) + count, mask=has_map)
        tl.store(target + G * programs, average, mask=has_map)
        tl.store(target + 2 * G * programs, tl.sum(distance * distance, 0), mask=has_map)


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
    """Launch a block: a copy of `x`, then one kernel per layer; in training also the statistics after all but the last.

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
    configuration = CONFIGURATIONS[maps.element_size(), GP]
    BM = configuration["BM"]
    width, halo = (F, 0) if F <= BM else (BM, 1)
    row_tiles, column_tiles = triton.cdiv(N * T, BM // width), triton.cdiv(F, width - 2 * halo)
    shape = (3, G, row_tiles * column_tiles) if moments else (0,)
    partial = torch.empty(shape, dtype=torch.float32, device=maps.device)
    launch(
        conv_kernel,
        (row_tiles, column_tiles, triton.cdiv(G, GP)),
        maps_ptr=maps,  # [N, channels, T, F], channels_last
        weight_ptr=weight.to(maps.dtype).contiguous(memory_format=torch.channels_last),  # [G, C, 3, 3]
        bn_weight_ptr=norm.weight,  # [C]
        bn_bias_ptr=norm.bias,  # [C]
        mean_ptr=norm.mean,  # [C] or more
        var_ptr=norm.var,  # [C] or more
        partial_ptr=partial,  # [3, G, row_tiles * column_tiles], or [0]
        eps=eps,
        rows=N * T,
        T=T,
        F=F,
        C_units=C // unit,
        G_units=G // unit,
        stride_units=channels // unit,
        width=width,
        halo=halo,
        UNIT=unit,
        GP=GP,
        MOMENTS=moments,
        PRECISION=fp32_precision(),
        **configuration,
    )
    return partial
