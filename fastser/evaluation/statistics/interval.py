"""Confidence intervals of the UAR and of the accuracy."""

from dataclasses import dataclass

import numpy as np

from fastser.evaluation.statistics.recall import RESAMPLES, Counts, independent_variance
from fastser.evaluation.statistics.sample import Sample


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and its confidence interval, fractions."""

    value: float
    low: float
    high: float


def interval(
    sample: Sample, metric: str = "uar", *, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return a metric and its confidence interval, by a studentised bootstrap over speakers.

    The interval is about the metric over all utterances of a population of speakers, of whom those of the sample are a
    draw. With several repeats it is about new trainings as well. With a single speaker it is about new utterances of
    this speaker. A single utterance leaves everything open.

    In simulations of ten speakers of unequal size it contains the truth in 93 to 97 of 100 samples
    (`tests/evaluation/test_statistics_coverage.py`). A plain percentile bootstrap does so in 90.

    Args:
        sample: Predictions.
        metric: "uar" or "accuracy".
        level: Share of samples whose interval contains the truth.
        seed: Seed of the bootstrap.
        resamples: Number of bootstrap samples.

    Returns:
        The metric as the mean over repeats, and the interval within 0 and 1.

    Source:
        Davison and Hinkley 1997, sections 3.8 and 5.2.1 (studentised bootstrap of clusters).

    Example:
        >>> import numpy as np
        >>> from fastser.evaluation.statistics import Sample, interval
        >>> labels, speakers = np.tile([0, 1], 30), np.repeat(np.arange(6), 10)
        >>> predicted = np.where(np.arange(60) % 7 == 0, 1 - labels, labels)
        >>> found = interval(Sample(labels, predicted[None], speakers, num_classes=2))
        >>> f"{found.value:.2f}, from {found.low:.2f} to {found.high:.2f}"
        '0.85, from 0.73 to 0.97'
    """
    correct, tested = (part[None] for part in sample.counts(metric))
    counts = Counts(correct, tested, independent_variance(correct, tested))
    return interval_of(counts, level=level, seed=seed, resamples=resamples)


def interval_of(counts: Counts, *, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Return the value of the counts of one system with its confidence interval, as `interval` does.

    Args:
        counts: Counts of one system.
        level: As in `interval`.
        seed: As in `interval`.
        resamples: As in `interval`.
    """
    value, error = counts.value, counts.standard_error()
    if np.isnan(error):
        return Interval(value, 0.0, 1.0)
    low, high = counts.quantiles(level, seed, resamples)
    return Interval(value, max(0.0, value - high * error), min(1.0, value - low * error))
