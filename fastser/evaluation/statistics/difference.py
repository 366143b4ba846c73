"""Paired differences between two systems or two conditions: interval, test, and what could have been seen."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import scipy
from numpy.typing import NDArray

from fastser.evaluation.statistics.recall import RESAMPLES, Counts, independent_variance
from fastser.evaluation.statistics.sample import NOT_TESTED, Sample

POWER = 0.8
"""Chance with which the smallest detectable difference would be found."""

EXACT_UNITS = 13
"""Number of units up to which every exchange is counted: 2^13 = 8,192."""

RANDOM_EXCHANGES = 9_999
"""Number of drawn exchanges for more units."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference, fractions.

    Attributes:
        value: Metric of the second sample minus that of the first.
        low: Lower end of the confidence interval.
        high: Upper end of the confidence interval.
        p: Two-sided p-value of the permutation test over speakers. With several repeats it is at least that of
            Student's test for new trainings. With only two repeats the latter is somewhat too small.
        smallest_detectable: Difference that the test would find in 80 of 100 such samples. It is 1 where the speakers
            are too few for any p-value below the level.
    """

    value: float
    low: float
    high: float
    p: float
    smallest_detectable: float


def difference(
    a: Sample, b: Sample, metric: str = "uar", *, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Compare two samples of the same utterances, paired by utterance.

    The interval is a studentised bootstrap over speakers, as in `interval`. The test exchanges the two systems for
    whole speakers: if they are equally good, each speaker's difference could as well have the other sign. All exchanges
    are counted for up to 13 speakers. So the smallest p-value of s speakers is 2 / 2^s.

    Args:
        a: Predictions of the first system or condition.
        b: Predictions of the second one, for the same utterances in the same order.
        metric: "uar" or "accuracy".
        level: Share of samples whose interval contains the true difference.
        seed: Seed of the bootstrap and of drawn exchanges.
        resamples: Number of bootstrap samples.

    Raises:
        ValueError: If the samples are not about the same utterances.

    Source:
        Good 2005, chapter 3 (permutation of matched pairs). The smallest detectable difference is the usual (t for the
        level + t for the power) times the standard error.

    Example:
        >>> import numpy as np
        >>> from fastser.evaluation.statistics import Sample, difference
        >>> labels, speakers = np.tile([0, 1], 30), np.repeat(np.arange(6), 10)
        >>> worse = np.where(np.arange(60) % 4 == 0, 1 - labels, labels)
        >>> a, b = (Sample(labels, predicted[None], speakers, num_classes=2) for predicted in (worse, labels))
        >>> found = difference(a, b)
        >>> f"{found.value:.2f}, from {found.low:.2f} to {found.high:.2f}, p {found.p:.3f}"
        '0.25, from 0.07 to 0.43, p 0.031'
    """
    _check_paired(a, b)
    correct, tested = (np.stack(pair) for pair in zip(a.counts(metric), b.counts(metric), strict=True))
    counts = Counts(correct, tested, independent_variance(correct, tested))
    return difference_of(counts, level=level, seed=seed, resamples=resamples)


def difference_of(counts: Counts, *, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES) -> Difference:
    """Compare the counts of two systems, as `difference` does.

    Args:
        counts: Counts of two systems that tested the same utterances.
        level: As in `difference`.
        seed: As in `difference`.
        resamples: As in `difference`.
    """
    value, error = counts.value, counts.standard_error()
    if np.isnan(error):
        return Difference(value, -1.0, 1.0, 1.0, 1.0)
    low, high = counts.quantiles(level, seed, resamples)
    freedom = counts.freedom
    student = scipy.special.stdtrit(freedom, [(1 + level) / 2, POWER])
    detectable = (student[0] + student[1]) * error
    if 2 / 2**counts.units > 1 - level:  # no exchange of so few units has a p-value as small as that
        detectable = 1.0
    p = exchange_p(counts.contributions(), seed)
    if len(counts.by_repeat) > 1:  # exchanges say nothing about new trainings
        p = max(p, float(2 * scipy.special.stdtr(freedom, -abs(value) / error)))
    return Difference(
        value=value,
        low=max(-1.0, value - high * error),
        high=min(1.0, value - low * error),
        p=p,
        smallest_detectable=min(1.0, float(detectable)),
    )


def exchange_p(contributions: NDArray[np.float64], seed: int = 0) -> float:
    """Return the two-sided p-value of a sum whose terms may have either sign.

    Args:
        contributions: Term of each unit, float64 [units].
        seed: Seed of the drawn signs, for more than `EXACT_UNITS` units.
    """
    units, total = len(contributions), abs(contributions.sum())
    if units <= EXACT_UNITS:
        as_far = np.abs(_all_signs(units) @ contributions) >= total * (1 - 1e-9)
        return float(as_far.mean())
    signs = np.random.default_rng(seed).choice((1.0, -1.0), (RANDOM_EXCHANGES, units))
    as_far = np.abs(signs @ contributions) >= total * (1 - 1e-9)
    return float((as_far.sum() + 1) / (RANDOM_EXCHANGES + 1))


@lru_cache(maxsize=1)
def _all_signs(units: int) -> NDArray[np.float64]:
    """Return every combination of signs, [2**units, units]."""
    return np.array(list(product((1.0, -1.0), repeat=units)))


def _check_paired(a: Sample, b: Sample) -> None:
    same = a.predicted.shape == b.predicted.shape and np.array_equal(a.labels, b.labels)
    same = same and np.array_equal(a.speakers, b.speakers)
    if not same or not np.array_equal(a.predicted == NOT_TESTED, b.predicted == NOT_TESTED):
        raise ValueError(
            "two samples can only be compared if they have the same utterances in the same order, the same speakers "
            f"and repeats: got {a.predicted.shape} and {b.predicted.shape} [repeats, utterances]"
        )
