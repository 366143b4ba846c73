"""The tolerance rule: at most twice the error of the eager implementation in the same dtype, and a hard cap."""

import torch
from torch import Tensor

CAPS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Largest relative error of a result, whatever the error of eager: a few roundings of the dtype."""

FLOORS = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 2e-3}
"""Error that is always allowed: half a unit in the last place of the result (fp32: ten), the limit of the dtype."""


def relative_error(actual: Tensor, exact: Tensor) -> float:
    """Return `|actual - exact| / |exact|` in the Euclidean norm, in float64; infinity if a value is not finite."""
    assert actual.shape == exact.shape
    difference = (actual.detach().double() - exact.detach().double()).norm()
    error = float(difference / exact.detach().double().norm().clamp(min=1e-300)) if difference > 0 else 0.0
    return error if torch.isfinite(actual).all() and torch.isfinite(difference) else float("inf")


def assert_accurate(actual: Tensor, eager: Tensor, exact: Tensor, what: str, cap: float | None = None) -> None:
    """Check the error from float64.

    Args:
        actual: Our result.
        eager: Result of the eager reference in the same dtype.
        exact: Result of the eager reference in float64.
        what: Name of the result for the message.
        cap: Hard cap on the relative error, if it differs from that of the dtype (say why at the call).
    """
    assert actual.dtype == eager.dtype, f"{what}: {actual.dtype} instead of {eager.dtype}"
    error = relative_error(actual, exact)
    limit = min(2 * relative_error(eager, exact) + FLOORS[actual.dtype], cap or CAPS[actual.dtype])
    assert error <= limit, f"{what}: relative error {error:.2e} from float64, allowed {limit:.2e}"
