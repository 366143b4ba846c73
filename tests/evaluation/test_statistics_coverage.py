"""Simulations: 95 % intervals contain the truth in 95 of 100 samples, and tests reject a true null in 5 of 100."""

import numpy as np
import pytest
from drawn_samples import draw, true_uar

from fastser.evaluation.statistics import difference, interval

SAMPLES = 2000
RESAMPLES = 199


@pytest.mark.parametrize(("repeats", "between_repeats"), [(1, 0.0), (3, 0.2)])
def test_intervals_of_ten_speakers_contain_the_truth(repeats: int, between_repeats: float) -> None:
    generator, truth = np.random.default_rng(20), true_uar()
    inside = 0
    for _ in range(SAMPLES):
        (sample,) = draw(generator, 10, repeats=repeats, between_repeats=between_repeats)
        found = interval(sample, resamples=RESAMPLES)
        inside += found.low <= truth <= found.high
    assert 0.93 <= inside / SAMPLES <= 0.97


def test_equally_good_systems_are_told_apart_in_five_of_a_hundred_samples() -> None:
    generator = np.random.default_rng(21)
    rejected = covered = 0
    for _ in range(SAMPLES):
        found = difference(*draw(generator, 10, systems=2), resamples=RESAMPLES)
        rejected += found.p <= 0.05
        covered += found.low <= 0 <= found.high
    assert 0.03 <= rejected / SAMPLES <= 0.07
    assert 0.93 <= covered / SAMPLES <= 0.97


def test_equally_good_systems_of_three_trainings_are_seldom_told_apart() -> None:
    generator = np.random.default_rng(22)
    rejected = covered = 0
    for _ in range(SAMPLES // 4):
        found = difference(*draw(generator, 10, systems=2, repeats=3, between_repeats=0.3), resamples=RESAMPLES)
        rejected += found.p <= 0.05
        covered += found.low <= 0 <= found.high
    assert rejected / (SAMPLES // 4) <= 0.08
    assert covered / (SAMPLES // 4) >= 0.93
