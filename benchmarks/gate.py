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


ALLOWED_DECIBELS, BELOW_PEAK = 0.01, 80.0


def check_decibels(
    provider: str,
    results: Sequence[Tensor],
    eager: Sequence[Tensor],  # noqa: ARG001
    exact: Sequence[Tensor],
    *,
    scale: float,
) -> None:
    """Compare log-spectrograms `[..., frames, bins]` with float64: 0.01 dB, down to 80 dB below each frame's peak.

    Args:
        provider: Its name.
        results: One tensor, which it computed.
        eager: Not looked at.
        exact: The same in float64.
        scale: Decibels in one unit of the tensors.

    Raises:
        WrongResultError: If a value is further away.
    """
    if results[0].shape != exact[0].shape:
        raise WrongResultError(f"{provider}: {list(results[0].shape)} is not {list(exact[0].shape)}: not timed")
    decibels = exact[0] * scale
    audible = decibels > decibels.amax(-1, keepdim=True) - BELOW_PEAK
    error = float(((results[0].double() * scale - decibels).abs() * audible).max())
    if not error <= ALLOWED_DECIBELS:
        raise WrongResultError(f"{provider}: {error:.3f} dB from float64, allowed {ALLOWED_DECIBELS}: not timed")
