"""Correction of several p-values for each other."""

from collections.abc import Sequence

import numpy as np

SIGNIFICANCE = 0.05
"""Level of significance, the usual one: the chance of any false discovery among the tests of one family (Holm)."""


def holm(p_values: Sequence[float | None]) -> list[float]:
    """Return p-values that are corrected for the number of tests of one family, by Holm's step-down method.

    With them, the chance of any false discovery is at most the level that they are compared with.

    Args:
        p_values: One p-value per comparison, or None for a comparison that was not tested. Its result is 1, and it
            does not count among the tests.

    Source:
        Holm 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
        >>> holm([0.01, None, 0.04])
        [0.02, 1.0, 0.04]
    """
    tested = np.array([place for place, p in enumerate(p_values) if p is not None], np.int64)
    values = np.array([p for p in p_values if p is not None], float)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    corrected = np.ones(len(p_values))
    corrected[tested[order]] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return [float(value) for value in corrected]
