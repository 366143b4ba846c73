"""Accuracy gate: every provider is compared with float64 at the shape that is timed. A wrong result gets no time."""

from collections.abc import Sequence

import torch
from torch import Tensor

FLOORS = {torch.float64: 1e-14, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Relative error allowed to every provider: a few roundings of the dtype."""

FLIPS = 5e-4
"""Relative error allowed to gradients through ReLUs.

Of tens of millions of values, some are so near to zero that rounding decides whether they pass a ReLU. Each such flip
is an error of about 5e-5, for every provider.
"""


class WrongResultError(AssertionError):
    """A provider's result that is further from float64 than allowed."""


def relative_error(result: Tensor, exact: Tensor) -> float:
    """Return `|result - exact| / |exact|` in float64, or infinity if the result is not finite or has another shape."""
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
        provider: Name of the provider.
        results: Its results.
        eager: Results of eager PyTorch in the same dtype.
        exact: Results in float64.
        gradients_from: Index of the first result that is a gradient through ReLUs, or None.

    Raises:
        WrongResultError: If an error exceeds twice the error of eager PyTorch plus the floor of the dtype.
    """
    for number, (result, by_eager, truth) in enumerate(zip(results, eager, exact, strict=True)):
        through_relu = gradients_from is not None and number >= gradients_from
        floor = max(FLOORS[result.dtype], FLIPS if through_relu else 0.0)
        error, limit = relative_error(result, truth), 2 * relative_error(by_eager, truth) + floor
        if not error <= limit:
            sentence = f"result {number} is {error:.1e} from float64, allowed {limit:.1e}: not timed"
            raise WrongResultError(f"{provider}: {sentence}")


ALLOWED_DECIBELS, BELOW_PEAK = 0.01, 80.0
"""Largest error of a spectrogram in dB, and the depth below a frame's peak to which it holds."""


def check_decibels(
    provider: str,
    results: Sequence[Tensor],
    eager: Sequence[Tensor],  # noqa: ARG001
    exact: Sequence[Tensor],
    *,
    scale: float,
) -> None:
    """Compare log-spectrograms `[..., frames, bins]` with float64, down to 80 dB below the peak of each frame.

    Args:
        provider: Name of the provider.
        results: Its result, one tensor.
        eager: Results of eager PyTorch, which are not used.
        exact: Result in float64.
        scale: Decibels in one unit of the tensors.

    Raises:
        WrongResultError: If a value is more than 0.01 dB from float64, or the shape is another.
    """
    if results[0].shape != exact[0].shape:
        shapes = f"the result has shape {list(results[0].shape)}, expected {list(exact[0].shape)}"
        raise WrongResultError(f"{provider}: {shapes}: not timed")
    decibels = exact[0] * scale
    audible = decibels > decibels.amax(-1, keepdim=True) - BELOW_PEAK
    error = float(((results[0].double() * scale - decibels).abs() * audible).max())
    if not error <= ALLOWED_DECIBELS:
        raise WrongResultError(f"{provider}: {error:.3f} dB from float64, allowed {ALLOWED_DECIBELS}: not timed")
