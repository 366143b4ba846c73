"""Tests of intervals and differences against scipy, statsmodels, exact enumeration and simple cases."""

import re
from itertools import product

import numpy as np
import pytest
from drawn_samples import draw
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from fastser.evaluation.metrics import ConditionResult, uar_of
from fastser.evaluation.statistics import Sample, difference, holm, interval
from fastser.evaluation.statistics.difference import exchange_p
from fastser.evaluation.statistics.recall import Counts
from fastser.evaluation.statistics.sample import NOT_TESTED

pytestmark = pytest.mark.fast


def counts_of(*samples: Sample, metric: str = "uar") -> Counts:
    """Return the counts of one sample or of two that are compared."""
    return Counts(*(np.stack(part) for part in zip(*(sample.counts(metric) for sample in samples), strict=True)))


def test_values_are_the_metrics_of_the_confusion_matrix() -> None:
    (sample,) = draw(np.random.default_rng(1), 5, repeats=2)
    uars = []
    for predicted in sample.predicted:
        confusion = np.zeros((4, 4), np.int64)
        np.add.at(confusion, (sample.labels, predicted), 1)
        uars.append(uar_of(confusion))
    assert interval(sample).value == pytest.approx(np.mean(uars))
    assert interval(sample, "accuracy").value == pytest.approx((sample.predicted == sample.labels).mean())


def test_standard_error_is_that_of_a_mean_over_equal_speakers() -> None:
    """With equal speakers and one class, the jackknife is the textbook error of a mean."""
    correct = np.array([[3, 9, 5, 7, 1, 8]])
    speakers = np.repeat(np.arange(6), 10)
    predicted = np.concatenate([np.r_[np.zeros(k), np.ones(10 - k)] for k in correct[0]]).astype(int)
    sample = Sample(np.zeros(60, int), predicted[None], speakers, 2)
    assert counts_of(sample).standard_error() == pytest.approx(stats.sem(correct[0] / 10))


def test_interval_is_that_of_scipys_bootstrap_over_speakers() -> None:
    """`scipy.stats.bootstrap` has no studentised interval, so its distribution is compared: same draws of speakers."""
    (sample,) = draw(np.random.default_rng(2), 12)
    correct, tested = (part[0] for part in sample.counts("uar"))

    def uar(*columns: np.ndarray, axis: int) -> np.ndarray:
        del axis
        drawn = np.stack(columns, axis=-1)  # [resamples, speakers, correct and tested]
        total = drawn.reshape(*drawn.shape[:-1], 2, 4).sum(axis=-3)
        return np.asarray((total[..., 0, :] / total[..., 1, :]).mean(axis=-1))

    columns = tuple(np.concatenate([correct, tested], axis=1).T)
    theirs = stats.bootstrap(
        columns, uar, paired=True, vectorized=True, n_resamples=20_000, method="basic", rng=np.random.default_rng(3)
    )
    counts = counts_of(sample)
    drawn = np.concatenate([counts._statistic(weights)[:, 0] for weights in counts._draws(4, 20_000)])
    assert drawn.mean() == pytest.approx(theirs.bootstrap_distribution.mean(), abs=0.002)
    assert drawn.std() == pytest.approx(theirs.standard_error, rel=0.03)
    assert counts.standard_error() == pytest.approx(theirs.standard_error, rel=0.15)


def test_p_is_that_of_an_exact_enumeration() -> None:
    a, b = draw(np.random.default_rng(5), 5, systems=2)
    observed = interval(b).value - interval(a).value
    found = []
    for exchange in product((False, True), repeat=5):
        swapped = np.array(exchange)[a.speakers]
        first, second = np.where(swapped, b.predicted, a.predicted), np.where(swapped, a.predicted, b.predicted)
        uars = [interval(Sample(a.labels, predicted, a.speakers, 4)).value for predicted in (first, second)]
        found.append(abs(uars[1] - uars[0]) >= abs(observed) - 1e-12)
    assert difference(a, b).p == np.mean(found)


def test_p_of_single_utterances_is_mcnemars() -> None:
    """With one utterance per speaker, exchanges of speakers are McNemar's exact test."""
    generator = np.random.default_rng(6)
    labels = np.zeros(30, int)
    first, second = (generator.random(30) > share for share in (0.5, 0.8))
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    exact = stats.binomtest(only_first, only_first + only_second).pvalue
    contributions = (second.astype(float) - first.astype(float)) / 30
    assert exchange_p(contributions) == pytest.approx(exact, abs=0.015)
    table = [[int((first & second).sum()), only_first], [only_second, int((~first & ~second).sum())]]
    assert mcnemar(table, exact=True).pvalue == pytest.approx(exact)
    a, b = (Sample(labels, (~right).astype(int)[None], np.arange(30), 2) for right in (first, second))
    assert difference(a, b, "accuracy").p == pytest.approx(exact, abs=0.015)


def test_drawn_exchanges_agree_with_all_of_them() -> None:
    contributions = np.random.default_rng(7).normal(0.3, 1, 14)
    signs = np.array(list(product((1.0, -1.0), repeat=14)))
    exact = (np.abs(signs @ contributions) >= abs(contributions.sum()) - 1e-12).mean()
    assert exchange_p(contributions) == pytest.approx(exact, abs=0.02)


def test_a_system_that_is_equal_to_another_differs_by_nothing_and_not_with_certainty() -> None:
    (a,) = draw(np.random.default_rng(8), 10)
    found = difference(a, a)
    assert (found.value, found.p) == (0, 1)
    assert found.low < 0 < found.high
    assert found.smallest_detectable > 0


def test_perfect_predictions_leave_doubt() -> None:
    labels, speakers = np.tile(np.arange(4), 10), np.repeat(np.arange(10), 4)
    found = interval(Sample(labels, labels[None], speakers, 4))
    assert found.value == found.high == 1
    assert found.low < 0.95


def test_variance_between_repeats_widens_the_interval() -> None:
    generator = np.random.default_rng(9)
    (alike,) = draw(generator, 10, repeats=3)
    predicted = alike.predicted.copy()
    predicted[0] = np.where(generator.random(predicted.shape[1]) < 0.5, alike.labels, predicted[0])
    uneven = Sample(alike.labels, predicted, alike.speakers, 4)
    assert counts_of(uneven).standard_error() > 1.2 * counts_of(alike).standard_error()


def test_one_speaker_is_judged_by_utterances_and_one_utterance_not_at_all() -> None:
    (sample,) = draw(np.random.default_rng(10), 1)
    found = interval(sample, "accuracy")
    by_hand = np.sqrt(found.value * (1 - found.value) / (len(sample.labels) - 1))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * by_hand, rel=0.15)
    single = Sample(np.array([0]), np.array([[0]]), np.array([3]), 2)
    assert interval(single) == type(found)(1.0, 0.0, 1.0)
    assert difference(single, single).p == 1


def test_untested_utterances_do_not_count() -> None:
    (sample,) = draw(np.random.default_rng(11), 6, repeats=2)
    predicted = sample.predicted.copy()
    predicted[1, ::2] = NOT_TESTED
    found = interval(Sample(sample.labels, predicted, sample.speakers, 4), "accuracy")
    right = [(row == sample.labels)[row != NOT_TESTED].mean() for row in predicted]
    assert found.value == pytest.approx(np.mean(right))


def test_a_class_of_one_speaker_does_not_break_the_interval() -> None:
    labels, speakers = np.array([0, 1] * 20 + [2]), np.repeat(np.arange(7), 6)[:41]
    found = interval(Sample(labels, labels[None], speakers, 3))
    assert 0 <= found.low < found.high == 1


@pytest.mark.parametrize("seed", range(3))
def test_holm_never_lets_a_larger_p_pass_a_smaller_one(seed: int) -> None:
    raw = np.random.default_rng(seed).random(7) ** 3
    corrected = np.array(holm(raw.tolist()))
    assert (np.diff(corrected[np.argsort(raw)]) >= 0).all()
    assert (corrected >= raw).all()
    assert corrected.max() <= 1
    assert corrected[raw.argmin()] == pytest.approx(min(1, 7 * raw.min()))


def test_holm_counts_tested_comparisons_only() -> None:
    raw = [0.2, 0.01, 0.03]
    assert holm([None, 0.2, None, 0.01, 0.03]) == [1.0, holm(raw)[0], 1.0, *holm(raw)[1:]]
    assert holm([None]) == [1.0]


@pytest.mark.parametrize(
    ("labels", "predicted", "speakers", "part"),
    [
        ([0, 1], [[0]], [0, 0], "[utterances]"),
        ([0, 5], [[0, 1]], [0, 0], "labels of a sample are from 0 to 5"),
        ([0, 1], [[0, -2]], [0, 0], "predicted of a sample are from -2 to 0"),
        ([0, 1], [[-1, -1]], [0, 0], "at least one tested utterance"),
    ],
)
def test_a_sample_that_does_not_fit_together_is_refused(
    labels: list[int], predicted: list[list[int]], speakers: list[int], part: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        Sample(np.array(labels), np.array(predicted), np.array(speakers), 2)


def test_samples_of_other_utterances_are_not_compared() -> None:
    first, second = (draw(np.random.default_rng(seed), 4)[0] for seed in (1, 2))
    with pytest.raises(ValueError, match="the same utterances in the same order"):
        difference(first, second)


def test_the_sample_of_a_result_has_its_metrics_and_all_classes() -> None:
    posteriors = np.array([[0.1, 0.7, 0.2], [0.6, 0.4, 0.0], [0.5, 0.3, 0.2]], np.float32)
    result = ConditionResult(posteriors, np.array([1, 0, 1]), ["a", "b", "c"], ["08", "03", "08"])
    sample = Sample.of_result(result)
    assert (sample.num_classes, sample.num_speakers, sample.repeats) == (3, 2, 1)
    assert sample.speakers.tolist() == [1, 0, 1]
    assert interval(sample).value == pytest.approx(result.uar)
    assert interval(sample, "accuracy").value == pytest.approx(result.accuracy)
