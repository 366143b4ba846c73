"""The L-infinity step in plain PyTorch."""

from torch import Tensor


def linf_step(
    x_adv: Tensor, x0: Tensor, grad: Tensor, alpha: float, eps: float, bounds: tuple[float, float] | None
) -> Tensor:
    """Return the value of `x_adv` after `fastser_kernels.linf_step`, as a new tensor."""
    sign = grad.sign().where(~grad.isnan(), grad)
    moved = x0 + (x_adv + alpha * sign - x0).clamp(-eps, eps)
    return moved if bounds is None else moved.clamp(*bounds)
