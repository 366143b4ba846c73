"""Triton kernels of the DenseBlock's forward pass.

The result is one buffer `[N, T, F, C0 + L*G]` into which every layer writes its slice: no concatenation. A layer is one
kernel: BN and ReLU when the maps are read, 3x3 convolution on tensor cores, moments of the new maps (of the values as
stored) when they are written, from which `finish_moments` makes the statistics that every later layer reads.

The convolution of a tile of whole rows reads each input three times, not nine: the rows above, at and below it are
loaded, and the three taps along F go to three accumulators that are shifted against each other and added once, at the
end. The ring over rows that reads each input once needs nine accumulators, which is all the registers there are; a
shift of the input instead of the output needs the row's neighbours and three times the BN and ReLU. There is one loop
over channels and rows, and no value but the accumulators is carried through it: Triton 3.7 issues loads ahead only
where their addresses follow from the loop's own variable.

Bytes per pixel and layer from memory: C_i read, G written; from the L2 cache: 3 C_i + 9 C_i G / BM values. Padding is
zero of the activation, so the mask comes after the ReLU.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import dot, fp32_precision, launch, relu
from fastser_kernels.moments_kernels import copy_maps, finish_moments, unit

CONFIGURATIONS = {
    (2, 16): {"BM": 128, "BK": 32, "num_warps": 8, "num_stages": 3},
    (2, 32): {"BM": 256, "BK": 32, "num_warps": 8, "num_stages": 3},
    (4, 16): {"BM": 128, "BK": 16, "num_warps": 8, "num_stages": 3},
    (4, 32): {"BM": 64, "BK": 16, "num_warps": 8, "num_stages": 3},
}
"""By bytes of an element and width of the accumulators, 16 or 32 new maps; any F and any C."""


@triton.jit(do_not_specialize=("rows", "T", "F", "C", "G", "stride", "width", "halo"))
def conv_kernel(
    maps_ptr, weight_ptr, bn_weight_ptr, bn_bias_ptr, mean_ptr, var_ptr, partial_ptr, eps,
    rows, T, F, C, G, stride, width, halo,
    UNIT: tl.constexpr, GP: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
    MOMENTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """C, G and stride, the channels of the buffer, are given in UNITs; weights lie as `[G, 3, 3, C]`.

    A tile is BM // width rows of `width` columns, of which `halo` at both ends belong to the neighbours.
    """
    C *= UNIT
    G *= UNIT
    stride *= UNIT
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
    """Launch a block: a copy of `x`, then a kernel a layer; when training, statistics after each but the last.

    Returns:
        The maps `[N, C0 + L*G, T, F]` in the dtype of `x`, channels_last; when training, the fp32 mean and biased
        variance of all maps but the last G, otherwise `[0]`.
    """
    bn_weight, bn_bias, running_mean, running_var = (
        [vector.contiguous() for vector in vectors] for vectors in (bn_weight, bn_bias, running_mean, running_var)
    )
    N, C0, T, F = x.shape
    G = conv_weight[0].shape[0]
    channels = [C0 + i * G for i in range(len(conv_weight) + 1)]
    maps = torch.empty(N, T, F, channels[-1], dtype=x.dtype, device=x.device).permute(0, 3, 1, 2)
    mean, var = (torch.empty(channels[-2] if training else 0, dtype=torch.float32, device=x.device) for _ in range(2))
    moments = copy_maps(x, maps[:, :C0], moments=training)
    if training:
        finish_moments(moments, mean[:C0], var[:C0])
    for i, weight in enumerate(conv_weight):
        C = channels[i]
        statistics = (mean, var) if training else (running_mean[i], running_var[i])
        read_later = training and i + 1 < len(conv_weight)
        moments = _layer(maps, C, weight, (bn_weight[i], bn_bias[i], *statistics), eps, moments=read_later)
        if read_later:
            finish_moments(moments, mean[C : C + G], var[C : C + G])
    return maps, mean, var


def _layer(maps: Tensor, C: int, weight: Tensor, norm: tuple[Tensor, ...], eps: float, *, moments: bool) -> Tensor:
    """Append G maps to the first C of `maps`; returns their partial moments `[3, G, P]`, `[0]` if not wanted."""
    N, stride, T, F = maps.shape
    G = weight.shape[0]
    size = unit(C, G, stride)
    GP = 16 if G <= 16 else 32
    configuration = CONFIGURATIONS[maps.element_size(), GP]
    BM = configuration["BM"]
    width, halo = (F, 0) if F <= BM else (BM, 1)
    columns = triton.cdiv(F, width - 2 * halo)
    grid = (triton.cdiv(N * T, BM // width), columns, triton.cdiv(G, GP))
    partial = torch.empty((3, G, grid[0] * columns) if moments else 0, dtype=torch.float32, device=maps.device)
    packed = weight.to(maps.dtype).contiguous(memory_format=torch.channels_last)
    sizes = (N * T, T, F, C // size, G // size, stride // size, width, halo)
    constants: dict[str, Any] = {"UNIT": size, "GP": GP, "MOMENTS": moments, "PRECISION": fp32_precision()}
    launch(conv_kernel, grid, maps, packed, *norm, partial, eps, *sizes, **constants, **configuration)
    return partial
