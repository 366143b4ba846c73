"""One step of a projected gradient attack in the L-infinity norm.

    x_adv <- clamp(x0 + clip(x_adv + alpha * sign(grad) - x0, -eps, eps), bounds)

All tensors have the same shape, in any layout. The sign of NaN is NaN, so that a failed gradient stays visible.
Source: Kurakin et al. 2017 (basic iterative method).
"""

import math

import torch
from torch import Tensor

from fastser_kernels.checks import check_device, check_dtype, check_floating, check_shape
from fastser_kernels.linf_step import native, reference
from fastser_kernels.registration import has_kernel, operation


@operation("linf_step", cpu=native.step, triton="linf_step.kernels:step", mutates=["x_adv"])
def _step(x_adv: Tensor, x0: Tensor, grad: Tensor, alpha: float, eps: float, low: float, high: float) -> None: ...


def ideal_bytes(values: int, itemsize: int) -> int:
    """Return the bytes that a step over `values` values must move: three tensors read, one written."""
    return 4 * values * itemsize


@torch.no_grad()
def linf_step(
    x_adv: Tensor, x0: Tensor, grad: Tensor, alpha: float, eps: float, bounds: tuple[float, float] | None
) -> None:
    """Move `x_adv` in place by one step.

    Args:
        x_adv: Current adversarial example of any shape, floating point; overwritten.
        x0: Clean input, of the shape, dtype and device of `x_adv`.
        grad: Gradient of the loss at `x_adv`, of the same shape, dtype and device.
        alpha: Step size, in the unit of `x_adv`.
        eps: Radius of the ball around `x0`, in the unit of `x_adv`.
        bounds: Smallest and largest allowed value of an input, or None.

    Raises:
        ValueError: If shapes or devices differ, eps is negative, or bounds are empty.
        TypeError: If a dtype is not floating point, or dtypes differ.

    Example:
        >>> import torch
        >>> from fastser_kernels import linf_step
        >>> x_adv = torch.zeros(3)
        >>> linf_step(x_adv, torch.zeros(3), torch.tensor([2.0, -3.0, 0.0]), alpha=0.5, eps=1.0, bounds=None)
        >>> x_adv.tolist()
        [0.5, -0.5, 0.0]
    """
    check_floating("x_adv", x_adv)
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    if bounds is not None and bounds[0] >= bounds[1]:
        raise ValueError(f"bounds must be (low, high) with low < high, got {bounds}")
    for name, tensor in (("x0", x0), ("grad", grad)):
        check_shape(name, tensor, x_adv.shape)
        check_dtype(name, tensor, [x_adv.dtype])
        check_device(name, tensor, x_adv, of="x_adv")
    low, high = bounds if bounds is not None else (-math.inf, math.inf)
    if has_kernel("linf_step", x_adv):
        _step(x_adv, x0, grad, alpha, eps, low, high)
    else:
        x_adv.copy_(reference.linf_step(x_adv, x0, grad, alpha, eps, bounds))
