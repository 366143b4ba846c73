"""Mean recalls from counts by unit: value, standard error, and quantiles of a studentised bootstrap.

A system's value is the mean over repeats of the mean over groups of correct / tested utterances. With classes as groups
it is the UAR. Units are speakers.

The standard error leaves out one unit at a time (jackknife). The bootstrap draws whole units and no utterances within
them, because the totals of a unit already vary as its utterances do (Davison and Hinkley 1997, section 3.8).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 999
"""Number of bootstrap samples of an interval, unless another number is given."""

BOOTSTRAPPED_UNITS = range(6, 201)
"""Numbers of units with quantiles from the bootstrap.

Samples of fewer units repeat too few values. With more units Student's distribution is as good.
"""

_CHUNK_VALUES = 2_000_000


@dataclass(frozen=True)
class Counts:
    """Counts of one system, or of two systems that are compared.

    Attributes:
        correct: Correct utterances, float64 [systems, repeats, units, groups].
        tested: Tested utterances, in the same shape.
        least_variance: Variance that the value has at least, such as that of independent utterances. Units that happen
            to be equal are no certainty.

    A plain mean over units is a special case: `correct` holds the number of each unit, and `tested` ones.
    """

    correct: Array
    tested: Array
    least_variance: float = 0.0

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.correct.shape[2])

    @cached_property
    def by_repeat(self) -> Array:
        """Mean recall of each repeat: of the only system, or of the last minus the first."""
        by_repeat: Array = self._statistic(np.ones((1, self.units)))[0]
        return by_repeat

    @property
    def value(self) -> float:
        """Mean over the repeats."""
        return float(self.by_repeat.mean())

    def standard_error(self) -> float:
        """Return the standard error of the value for new units and new repeats. It is NaN for a single unit.

        The variance between repeats counts without the part that the units already explain.
        """
        if self.units == 1:
            return float("nan")
        return float(np.sqrt(max(sum(self._variances), self.least_variance)))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the standard error (Satterthwaite 1946): few repeats say little about new ones."""
        by_units, by_repeats = self._variances
        if by_repeats == 0:
            return float(max(self.units - 1, 1))
        parts = by_units**2 / max(self.units - 1, 1) + by_repeats**2 / (len(self.by_repeat) - 1)
        return (by_units + by_repeats) ** 2 / parts

    @cached_property
    def _variances(self) -> tuple[float, float]:
        """Variance that units explain, and the rest that repeats add."""
        without_one = self._without_one(np.ones((1, self.units)))[0]
        of_units = float(_jackknife(without_one.mean(axis=0)))
        if (repeats := len(self.by_repeat)) == 1:
            return of_units, 0.0
        explained = _jackknife(without_one - without_one.mean(axis=0)).sum() / (repeats - 1)
        return of_units, max(float(self.by_repeat.var(ddof=1) - explained), 0.0) / repeats

    def quantiles(self, level: float, seed: int, resamples: int) -> tuple[float, float]:
        """Return the two quantiles of (estimate - truth) / standard error that enclose a share `level` of new samples.

        They are those of the bootstrap, and at least Student's: equal units give the bootstrap nothing to vary.

        Args:
            level: Share, such as 0.95.
            seed: Seed of the bootstrap.
            resamples: Number of bootstrap samples.
        """
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        student: Array = scipy.special.stdtrit(self.freedom, tails)
        if self.units in BOOTSTRAPPED_UNITS:
            studentised = np.sort(self._studentised(seed, resamples))
            low, high = studentised[int(tails[0] * resamples)], studentised[-1 - int(tails[0] * resamples)]
            if np.isfinite(low) and np.isfinite(high):
                return min(float(low), float(student[0])), max(float(high), float(student[1]))
        return float(student[0]), float(student[1])

    def contributions(self) -> Array:
        """Return each unit's part of the difference between two systems that tested the same utterances, [units]."""
        tested = self.tested[0].sum(axis=1, keepdims=True)
        shares = (self.correct[-1] - self.correct[0]) / np.maximum(tested, 1)
        parts: Array = (shares.sum(axis=2) / (tested > 0).sum(axis=2)).mean(axis=0)
        return parts

    def _studentised(self, seed: int, resamples: int) -> Array:
        found = []
        for weights in self._draws(seed, resamples):
            estimate = self._statistic(weights).mean(axis=1)
            variance = _jackknife(self._without_one(weights).mean(axis=1), weights)
            with np.errstate(divide="ignore", invalid="ignore"):
                found.append((estimate - self.value) / np.sqrt(variance))
        studentised: Array = np.concatenate(found)
        return np.where(np.isnan(studentised), 0.0, studentised)

    def _draws(self, seed: int, resamples: int) -> Iterator[Array]:
        """Yield how often each unit is drawn, [samples, units], a part of the samples at a time."""
        generator = np.random.default_rng(seed)
        size = max(1, _CHUNK_VALUES // self.correct.size)
        for begin in range(0, resamples, size):
            samples = min(size, resamples - begin)
            yield generator.multinomial(self.units, np.full(self.units, 1 / self.units), samples).astype(float)

    def _statistic(self, weights: Array) -> Array:
        """Return the statistic by sample and repeat, [samples, repeats]."""
        return _mean_recall(_total(self.correct, weights), _total(self.tested, weights))

    def _without_one(self, weights: Array) -> Array:
        """Return the statistic after one copy of each unit is left out, [samples, repeats, units]."""
        drawn = (weights > 0)[:, None, :, None]
        correct = _total(self.correct, weights)[..., None, :] - drawn * self.correct[:, None]
        tested = _total(self.tested, weights)[..., None, :] - drawn * self.tested[:, None]
        return _mean_recall(correct, tested)


def independent_variance(correct: Array, tested: Array) -> float:
    """Return the variance of a mean recall if utterances were independent.

    For one system, two correct and two wrong utterances are added to each group (Agresti and Coull 1998). For two, one
    more utterance of each group counts as different.

    Args:
        correct: As in `Counts`.
        tested: As in `Counts`.
    """
    number = tested[0].mean(axis=0).sum(axis=0)
    occurring = number > 0
    number = number[occurring]
    if len(correct) == 1:
        share = (correct[0].mean(axis=0).sum(axis=0)[occurring] + 2) / (number + 4)
        variances = share * (1 - share) / (number + 4)
    else:
        changed = np.abs(correct[-1] - correct[0]).mean(axis=0).sum(axis=0)[occurring]
        variances = (changed + 1) / number**2
    return float(variances.sum() / occurring.sum() ** 2)


def _total(counts: Array, weights: Array) -> Array:
    """Return the weighted sum over units, [systems, samples, repeats, groups]."""
    total: Array = np.einsum("nu,srug->snrg", weights, counts)
    return total


def _mean_recall(correct: Array, tested: Array) -> Array:
    """Return the mean over groups that were tested: of the only system, or of the last minus the first."""
    occurring = tested > 0
    recall = np.divide(correct, tested, out=np.zeros_like(correct), where=occurring)
    mean: Array = recall.sum(axis=-1) / np.maximum(occurring.sum(axis=-1), 1)
    of_one: Array = mean[-1] if len(mean) == 1 else mean[-1] - mean[0]
    return of_one


def _jackknife(without_one: Array, weights: Array | None = None) -> Array:
    """Return the jackknife variance from the statistic without one copy of each unit, over the last axis."""
    weights = np.ones(without_one.shape[-1:]) if weights is None else weights
    number = weights.sum(axis=-1)
    mean = (weights * without_one).sum(axis=-1) / number
    variance: Array = (weights * (without_one - mean[..., None]) ** 2).sum(axis=-1) * (number - 1) / number
    return variance
