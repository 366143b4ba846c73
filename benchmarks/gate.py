"""No time for a wrong result: every provider is compared with float64 at the very shape that is timed."""

from collections.abc import Sequence

import torch
from torch import Tensor

FLOORS = {torch.float64: 1e-14, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Relative error that every provider may have: a few roundings of the dtype."""

FLIPS = 5e-4
"""The same for gradients that passed through ReLUs: of tens of millions of values, some lie so near to zero that
rounding decides whether they pass. Each such flip is an error of about 5e-5, in whoever's result."""


class WrongResultError(AssertionError):
    """A provider's result is not what float64 says."""


def relative_error(result: Tensor, exact: Tensor) -> float:
    """`|result - exact| / |exact|` in float64; infinite where the result is not finite or has another shape."""
    result, exact = result.detach(), exact.detach()
    if result.shape != exact.shape or not torch.isfinite(result).all():
        return float("inf")
    return float((result.double() - exact).norm() / exact.norm().clamp(min=1e-300))


def check_accuracy(
    provider: str,
    results: Sequence[Tensor],
    eager: Sequence[Tensor],
    exact: Sequence[Tensor],
    *,
    gradients_from: int | None = None,
) -> None:
    """Compare a provider's results with float64.

    Args:
        provider: Its name.
        results: What it computed.
        eager: What eager PyTorch computed in the same dtype.
        exact: The same in float64.
        gradients_from: Number of the first result that is a gradient through ReLUs; None if there is none.

    Raises:
        WrongResultError: If an error is larger than twice eager PyTorch's plus the floor.
    """
    for number, (result, by_eager, truth) in enumerate(zip(results, eager, exact, strict=True)):
        through_relu = gradients_from is not None and number >= gradients_from
        floor = max(FLOORS[result.dtype], FLIPS if through_relu else 0.0)
        error, limit = relative_error(result, truth), 2 * relative_error(by_eager, truth) + floor
        if not error <= limit:
            sentence = f"result {number} is {error:.1e} from float64, allowed {limit:.1e}: not timed"
            raise WrongResultError(f"{provider}: {sentence}")
