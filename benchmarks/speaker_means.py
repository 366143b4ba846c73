"""Mean over speakers with its 95 % interval."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy import stats

Place = tuple[str, int]
"""Fold and repeat of a run. Runs of two models at one place are a pair."""


@dataclass(frozen=True)
class Mean:
    """A mean over speakers and its 95 % interval, which is None for a single speaker."""

    value: float
    interval: tuple[float, float] | None

    @property
    def ends(self) -> str:
        """Return the interval as text, with one decimal."""
        return "n/a" if self.interval is None else "{:.1f} to {:.1f}".format(*self.interval)


def mean_over_speakers(values: Iterable[tuple[str, float]]) -> Mean:
    """Return the mean over speakers of each speaker's mean over repeats, with Student's interval.

    Args:
        values: Speaker and value of each run, at least one.
    """
    by_speaker = defaultdict(list)
    for speaker, value in values:
        by_speaker[speaker].append(value)
    return mean_of([mean(of_speaker) for of_speaker in by_speaker.values()])


def mean_of(samples: Sequence[float]) -> Mean:
    """Return the mean of independent samples, at least one, with Student's interval."""
    middle = mean(samples)
    if len(samples) == 1:
        return Mean(middle, None)
    margin = float(stats.t.ppf(0.975, len(samples) - 1)) * stdev(samples) / len(samples) ** 0.5
    return Mean(middle, (middle - margin, middle + margin))


def mean_over_folds(values: Mapping[Place, float]) -> Mean | None:
    """Return the mean over the test speakers of folds, or None if there are no runs."""
    return mean_over_speakers((fold, value) for (fold, _), value in values.items()) if values else None


def minus(values: Mapping[Place, float], others: Mapping[Place, float]) -> dict[Place, float]:
    """Return the differences of the pairs. A run without a partner is left out."""
    return {place: value - others[place] for place, value in values.items() if place in others}
