"""Correction of several p-values for each other."""

from collections.abc import Sequence

import numpy as np

SIGNIFICANCE = 0.05
"""Level of significance, the usual one: the chance of any false discovery among the tests of one family (Holm)."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that are corrected for the number of tests of one family, by Holm's step-down method.

    With them, the chance of any false discovery is at most the level that they are compared with.

    Args:
        p_values: One p-value per test.

    Source:
        Holm 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    in_order = np.minimum(np.maximum.accumulate(factors * np.asarray(p_values, float)[order]), 1.0)
    corrected = np.empty(len(p_values))
    corrected[order] = in_order
    return [float(value) for value in corrected]
