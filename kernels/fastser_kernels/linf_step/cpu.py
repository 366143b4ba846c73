"""The L-infinity step in ATen calls, in place."""

from torch import Tensor


def step(x_adv: Tensor, x0: Tensor, grad: Tensor, alpha: float, eps: float, low: float, high: float) -> None:
    """Move `x_adv` in place; -inf and inf mean no bounds."""
    x_adv.add_(grad.sign(), alpha=alpha).sub_(x0).clamp_(-eps, eps).add_(x0).clamp_(low, high)
