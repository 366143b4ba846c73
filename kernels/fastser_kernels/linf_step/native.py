"""The L-infinity step as one pass of the compiled library."""

import torch
from torch import Tensor

from fastser_kernels.native.calls import FLOAT, INPUT, INT, OUTPUT, NativeFunction, threads_for

_step = NativeFunction(
    "linf_step",
    adv=OUTPUT,
    clean=INPUT,
    grad=INPUT,
    values=INT,
    alpha=FLOAT,
    eps=FLOAT,
    low=FLOAT,
    high=FLOAT,
)


def step(x_adv: Tensor, x0: Tensor, grad: Tensor, alpha: float, eps: float, low: float, high: float) -> None:
    """Move `x_adv` in place; -inf and inf mean no bounds. A tensor with another order in memory is copied first."""
    order = torch.empty_like(x_adv, device="meta").stride()
    adv, clean, slope = (
        t if t.stride() == order else torch.empty_like(t).as_strided(t.shape, order).copy_(t) for t in (x_adv, x0, grad)
    )
    _step(
        x_adv.dtype,
        adv=adv,
        clean=clean,
        grad=slope,
        values=x_adv.numel(),
        alpha=alpha,
        eps=eps,
        low=low,
        high=high,
        threads=threads_for(x_adv.numel()),
    )
    if adv is not x_adv:
        x_adv.copy_(adv)
    elif not x_adv.is_inference():
        torch.autograd.graph.increment_version(x_adv)
