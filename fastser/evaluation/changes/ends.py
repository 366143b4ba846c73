"""Changes at the beginning and the end of an utterance."""

import numpy as np

from fastser.evaluation.changes.change import Samples


def crop(
    samples: Samples,
    sample_rate: int,  # noqa: ARG001
    generator: np.random.Generator,  # noqa: ARG001
    *,
    first: int = 0,
    last: int = 0,
) -> Samples:
    """Return the samples without the first and last few. At least one sample remains."""
    first = min(first, len(samples) - 1)
    return samples[first : max(len(samples) - last, first + 1)]


def zeros(
    samples: Samples,
    sample_rate: int,  # noqa: ARG001
    generator: np.random.Generator,  # noqa: ARG001
    *,
    before: int = 0,
    after: int = 0,
) -> Samples:
    """Return the samples with zeros before and after them."""
    return np.pad(samples, (before, after))
