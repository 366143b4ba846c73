# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Triton kernel that prepares the operands of one layer's convolution.

The convolution multiplies two matrices. Their common axis K holds the 3 C inputs of a pixel: C channels of the row
above it, of its own row and of the row below. The kernel writes everything else that depends on K, once per layer:

- the BatchNorm as one multiplication and one addition per value of K,
- the kernel `[G, C, 3, 3]` of the convolution as a matrix `[3 G, K]`: the left, middle and right taps of all new maps.
  For three tf32 products, BLOCK values are followed by the BLOCK remainders that tf32 does not represent,
- `padding` `[K]`, which BN and ReLU turn into the zeros above the first row and below the last one.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.dense_block.conversions import split_tf32
from fastser_kernels.launch import fp32_precision, launch

BLOCK = tl.constexpr(32)
"""Values of K that lie together in memory before their remainders in tf32."""

ALIGNMENT = tl.constexpr(64)
"""K is padded with zeros to a multiple of this number, so that the loads of a tile need no mask along K."""

TILE = {"BN": 16, "BK": 64}
"""Rows and columns of the packed matrix that a program writes."""

NOWHERE = tl.constexpr(1 << 24)
"""Row of the padding of K, outside every map."""


class Norm(NamedTuple):
    """The BatchNorm of one layer: scale and shift `[C]`, mean and biased variance of C or more channels."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    var: Tensor


class Operands(NamedTuple):
    """The operands beside the maps. Scale and shift (`affine`) are fp32, the others have the dtype of the maps."""

    weight: Tensor  # [3 * G, K / BLOCK, 1 or 2, BLOCK]
    affine: Tensor  # [2, K]
    padding: Tensor  # [K]


@triton.jit
def row_of(k, C):
    """Return the row of each value of K: -1, 0 or 1, or NOWHERE behind the end. Its channel is k - (row + 1) * C."""
    return tl.where(k < C, -1, tl.where(k < 2 * C, 0, tl.where(k < 3 * C, 1, NOWHERE)))


@triton.jit
def padded_depth(C):
    """Return the length of K with its padding."""
    return tl.cdiv(3 * C, ALIGNMENT) * ALIGNMENT


@triton.jit(do_not_specialize=("C", "G", "weight_g", "weight_c", "weight_t", "weight_f"))
def prepare_kernel(
    weight_ptr, bn_weight_ptr, bn_bias_ptr, mean_ptr, var_ptr, packed_ptr, affine_ptr, padding_ptr, eps,
    C, G, weight_g, weight_c, weight_t, weight_f,
    SPLIT: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Write a tile of the weights. The first program of each tile along K also writes scale, shift and padding."""
    depth = padded_depth(C)
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    inside = k < 3 * C
    row = row_of(k, C)
    c = k - (row + 1) * C
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    tap, g = n // G, n % G
    at_map = weight_ptr + g.to(tl.int64) * weight_g + tap * weight_f
    at_input = c.to(tl.int64) * weight_c + (row + 1) * weight_t
    has_row = n < 3 * G
    weight = tl.load(at_map[:, None] + at_input[None, :], mask=has_row[:, None] & inside[None, :], other=0.0)
    if SPLIT:
        target = packed_ptr + n[:, None] * (2 * depth) + (k + k // BLOCK * BLOCK)[None, :]
        high, low = split_tf32(weight.to(tl.float32))
        tl.store(target, high, mask=has_row[:, None])
        tl.store(target + BLOCK, low, mask=has_row[:, None])
    else:
        target = packed_ptr + n[:, None] * depth + k[None, :]
        tl.store(target, weight.to(packed_ptr.dtype.element_ty), mask=has_row[:, None])
    if tl.program_id(0) == 0:
        mean = tl.load(mean_ptr + c, mask=inside, other=0.0).to(tl.float32)
        var = tl.load(var_ptr + c, mask=inside, other=1.0).to(tl.float32)
        scale = tl.load(bn_weight_ptr + c, mask=inside, other=0.0).to(tl.float32) * tl.rsqrt(var + eps)
        scale = tl.where(inside & (scale == 0), 2.0**-126, scale)  # zero times the infinite padding would be NaN
        bias = tl.load(bn_bias_ptr + c, mask=inside, other=0.0)
        shift = bias.to(tl.float64) - mean.to(tl.float64) * scale.to(tl.float64)  # x * scale + shift cancels
        padding = tl.where(inside, tl.where(scale < 0, float("inf"), float("-inf")), 0.0)
        tl.store(affine_ptr + k, scale)
        tl.store(affine_ptr + depth + k, shift.to(tl.float32))
        tl.store(padding_ptr + k, padding.to(padding_ptr.dtype.element_ty))


def prepare(weight: Tensor, norm: Norm, eps: float, dtype: torch.dtype) -> Operands:
    """Launch the preparation of a layer.

    Args:
        weight: Kernel of the convolution `[G, C, 3, 3]` of any strides.
        norm: The BatchNorm before it.
        eps: Added to the variance.
        dtype: Dtype of the maps.
    """
    G, C = weight.shape[:2]
    depth = triton.cdiv(3 * C, ALIGNMENT.value) * ALIGNMENT.value
    split = dtype == torch.float32 and fp32_precision() == "tf32x3"
    packed = torch.empty(3 * G, depth // BLOCK.value, 1 + split, BLOCK.value, dtype=dtype, device=weight.device)
    affine = torch.empty(2, depth, dtype=torch.float32, device=weight.device)
    padding = torch.empty(depth, dtype=dtype, device=weight.device)
    weight_g, weight_c, weight_t, weight_f = weight.stride()
    launch(
        prepare_kernel,
        (triton.cdiv(3 * G, TILE["BN"]), depth // TILE["BK"]),
        weight_ptr=weight,  # [G, C, 3, 3]
        bn_weight_ptr=norm.weight,  # [C]
        bn_bias_ptr=norm.bias,  # [C]
        mean_ptr=norm.mean,  # [C] or more
        var_ptr=norm.var,  # [C] or more
        packed_ptr=packed,  # [3 * G, depth / BLOCK, 1 or 2, BLOCK]
        affine_ptr=affine,  # [2, depth]
        padding_ptr=padding,  # [depth]
        eps=eps,
        C=C,
        G=G,
        weight_g=weight_g,
        weight_c=weight_c,
        weight_t=weight_t,
        weight_f=weight_f,
        SPLIT=split,
        **TILE,
    )
    return Operands(packed, affine, padding)
