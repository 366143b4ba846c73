"""The tolerance rule: at most twice the eager implementation's own error in that dtype, and a hard cap."""

import torch
from torch import Tensor

CAPS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Largest relative error of a result, whatever eager does: a few roundings of the dtype."""

FLOORS = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 2e-3}
"""Half a unit in the last place of the result (fp32: ten): nobody is asked to be more accurate than its own dtype."""


def relative_error(actual: Tensor, exact: Tensor) -> float:
    """`|actual - exact| / |exact|` in the Euclidean norm, in float64; infinite where anything is not finite."""
    assert actual.shape == exact.shape
    difference = (actual.detach().double() - exact.detach().double()).norm()
    error = float(difference / exact.detach().double().norm().clamp(min=1e-300)) if difference > 0 else 0.0
    return error if torch.isfinite(actual).all() and torch.isfinite(difference) else float("inf")


def assert_accurate(actual: Tensor, eager: Tensor, exact: Tensor, what: str, cap: float | None = None) -> None:
    """Compare with float64.

    Args:
        actual: Our result.
        eager: The same from the eager reference in the same dtype.
        exact: The same from the eager reference in float64.
        what: Named in the message.
        cap: Hard cap on the relative error, where it is not that of the dtype (say why at the call).
    """
    assert actual.dtype == eager.dtype, f"{what}: {actual.dtype} instead of {eager.dtype}"
    error = relative_error(actual, exact)
    limit = min(2 * relative_error(eager, exact) + FLOORS[actual.dtype], cap or CAPS[actual.dtype])
    assert error <= limit, f"{what}: relative error {error:.2e} from float64, allowed {limit:.2e}"
