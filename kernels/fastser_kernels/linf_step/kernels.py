"""Triton kernel of the L-infinity step.

It reads x_adv, x0 and grad once and writes x_adv once: 16 bytes per fp32 value.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import launch
from fastser_kernels.moments_kernels import common_unit

BLOCK, NUM_WARPS = 1024, 4


@triton.jit
def _clamp(x, low, high):
    """Clamp and keep NaN, as torch.clamp does."""
    x = tl.maximum(x, low, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(x, high, propagate_nan=tl.PropagateNan.ALL)


@triton.jit(do_not_specialize=("num_units",))
def step_kernel(
    adv_ptr, clean_ptr, grad_ptr, alpha, eps, low, high, num_units, UNIT: tl.constexpr, BLOCK: tl.constexpr
):
    """Move `adv` by one step; it has num_units * UNIT values."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < num_units.to(tl.int64) * UNIT
    adv = tl.load(adv_ptr + i, mask=inside, other=0.0).to(tl.float32)
    clean = tl.load(clean_ptr + i, mask=inside, other=0.0).to(tl.float32)
    grad = tl.load(grad_ptr + i, mask=inside, other=0.0).to(tl.float32)
    sign = tl.where(grad == grad, (grad > 0).to(tl.float32) - (grad < 0).to(tl.float32), grad)
    change = _clamp(adv + alpha * sign - clean, -eps, eps)
    moved = _clamp(clean + change, low, high)
    tl.store(adv_ptr + i, moved.to(adv_ptr.dtype.element_ty), mask=inside)


def step(x_adv: Tensor, x0: Tensor, grad: Tensor, alpha: float, eps: float, low: float, high: float) -> None:
    """Launch over the memory of `x_adv`. A tensor with another order in memory, or with gaps, is copied first."""
    order = torch.empty_like(x_adv, device="meta").stride()
    adv, clean, slope = (
        t if t.stride() == order else torch.empty_like(t).as_strided(t.shape, order).copy_(t) for t in (x_adv, x0, grad)
    )
    values = x_adv.numel()
    unit = common_unit(values)
    launch(
        step_kernel,
        (triton.cdiv(values, BLOCK),),
        adv_ptr=adv,  # [values]
        clean_ptr=clean,  # [values]
        grad_ptr=slope,  # [values]
        alpha=alpha,
        eps=eps,
        low=low,
        high=high,
        num_units=values // unit,
        UNIT=unit,
        BLOCK=BLOCK,
        num_warps=NUM_WARPS,
    )
    if adv is not x_adv:
        x_adv.copy_(adv)
    elif not x_adv.is_inference():
        torch.autograd.graph.increment_version(x_adv)
