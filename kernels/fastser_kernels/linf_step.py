"""One step of a projected gradient attack in the L-infinity norm.

    x_adv <- clamp(x0 + clip(x_adv + alpha * sign(grad) - x0, -eps, eps), bounds)

All tensors have one shape, any layout. Source: Kurakin et al. 2017 (basic iterative method).
"""

import torch
from torch import Tensor


@torch.no_grad()
def linf_step(
    x_adv: Tensor, x0: Tensor, grad: Tensor, alpha: float, eps: float, bounds: tuple[float, float] | None
) -> None:
    """Move `x_adv` in place by one step.

    Args:
        x_adv: Adversarial example so far; overwritten.
        x0: Clean input.
        grad: Gradient of the loss at `x_adv`.
        alpha: Step size.
        eps: Radius of the ball around `x0`.
        bounds: Smallest and largest value an input may take, or None.

    Raises:
        ValueError: If the shapes differ.
    """
    for name, tensor in (("x0", x0), ("grad", grad)):
        if tensor.shape != x_adv.shape:
            raise ValueError(f"{name} must have the shape of x_adv {list(x_adv.shape)}, got {list(tensor.shape)}")
    x_adv.add_(grad.sign(), alpha=alpha).sub_(x0).clamp_(-eps, eps).add_(x0)
    if bounds is not None:
        x_adv.clamp_(*bounds)
