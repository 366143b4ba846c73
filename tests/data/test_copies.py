"""Copies of recordings: which pairs are selected for the comparison of samples, and which are copies."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import soxr

from fastser.data import copies
from fastser.data.copies import is_copy, likely_copies
from fastser.data.fingerprints import envelope_of, fingerprints

pytestmark = pytest.mark.fast
RATE = 16_000


def hiss(generator: np.random.Generator, seconds: float) -> np.ndarray:
    """Return stationary noise without the band that resampling loses."""
    return np.convolve(generator.normal(0, 0.1, int(RATE * seconds)), np.hanning(9) / 4, "same").astype(np.float32)


def speech_like(generator: np.random.Generator, seconds: float) -> np.ndarray:
    noise = hiss(generator, seconds)
    syllables = np.interp(np.arange(len(noise)), np.linspace(0, len(noise), 9), generator.uniform(0.02, 1, 9))
    return (noise * syllables).astype(np.float32)


def hum(generator: np.random.Generator, seconds: float) -> np.ndarray:
    """Return a tone and noise with a quarter of the power."""
    time = np.arange(int(RATE * seconds)) / RATE
    return (0.1 * np.sin(2 * np.pi * 50 * time) + hiss(generator, seconds)).astype(np.float32)


def rounded(samples: np.ndarray, bits: int) -> np.ndarray:
    return (np.round(samples * 2 ** (bits - 1)) / 2 ** (bits - 1)).astype(np.float32)


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    return soxr.resample(rounded(soxr.resample(samples, RATE, rate), 16), rate, RATE)


def with_pauses(samples: np.ndarray) -> np.ndarray:
    ends = np.random.default_rng(9).normal(0, 1e-4, 70_000).astype(np.float32)
    return np.concatenate([ends[:1234], samples, np.zeros(77, np.float32), ends])


def likely(recordings: list[np.ndarray]) -> list[tuple[int, int]]:
    return likely_copies(np.array([envelope_of(samples) for samples in recordings]), recordings.__getitem__)


def squared_distance(a: np.ndarray, b: np.ndarray) -> float:
    one, other = fingerprints(a), fingerprints(b)
    shorter = min(len(one), len(other)) - 1
    return float(np.square(one[shorter] - other[shorter]).sum())


def forms(original: np.ndarray) -> list[np.ndarray]:
    return [
        original,
        rounded(-0.02 * original, 16),
        rounded(original, 8),
        resampled(original, 8_000),
        resampled(original, 48_000),
        with_pauses(0.5 * original),
        original[int(0.001 * len(original)) :],
    ]


@pytest.mark.parametrize("make", [speech_like, hiss, hum])
@pytest.mark.parametrize("seconds", [0.3, 5.0])
def test_every_copy_with_the_same_envelope_is_selected(
    make: Callable[[np.random.Generator, float], np.ndarray], seconds: float
) -> None:
    recordings = [form for seed in (1, 2) for form in forms(make(np.random.default_rng(seed), seconds))]
    envelopes = np.array([envelope_of(samples) for samples in recordings])
    pairs = list(combinations(range(len(recordings)), 2))
    same = [(i, j) for i, j in pairs if is_copy(recordings[i], recordings[j])]
    assert same == [(i, j) for i, j in pairs if i // 7 == j // 7]
    assert max(squared_distance(recordings[i], recordings[j]) for i, j in same) < 0.02
    agreeing = [(i, j) for i, j in same if envelopes[i] @ envelopes[j] > 0.9995]
    assert len(agreeing) > 20
    assert set(agreeing) <= set(likely(recordings))


@pytest.mark.parametrize("make", [hiss, hum])
@pytest.mark.parametrize("seconds", [0.3, 5.0])
def test_stationary_recordings_are_no_likely_copies(
    make: Callable[[np.random.Generator, float], np.ndarray], seconds: float
) -> None:
    generator = np.random.default_rng(2)
    recordings = [make(generator, seconds) for _ in range(40)]
    distances = [squared_distance(recordings[0], other) for other in recordings[1:]]
    assert min(distances) > 0.06
    assert likely_copies(np.full((40, 64), 1 / 8, np.float32), recordings.__getitem__) == []


def test_fingerprints_of_independent_noise_are_as_far_apart_as_random_magnitudes() -> None:
    generator = np.random.default_rng(3)
    noises = [generator.normal(0, 0.1, RATE).astype(np.float32) for _ in range(20)]
    distances = [squared_distance(a, b) for a, b in zip(noises[::2], noises[1::2], strict=True)]
    assert np.mean(distances) == pytest.approx(2 - np.pi / 2, abs=0.03)


def test_an_offset_counts_as_little_as_in_the_correlation() -> None:
    original = hiss(np.random.default_rng(8), 1.0)
    moved = original + 0.13 * original.std()
    assert is_copy(original, moved)
    assert squared_distance(original, moved) < 0.02


def with_a_faint_beginning(samples: np.ndarray) -> np.ndarray:
    """Prepend nine seconds that are too loud for a quiet end, with a thousandth of the power of one second of hiss."""
    faint = 0.01 * hiss(np.random.default_rng(5), 9.0)
    faint[0] = np.abs(samples).max() / 50
    return np.concatenate([faint, samples])


def test_every_pair_is_compared_once_at_the_period_of_the_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_ROWS", 2)
    generator = np.random.default_rng(6)
    sounds = [hiss(generator, seconds) for seconds in (3.0, 1.0, 3.0, 9.0)]
    recordings = [*sounds, *map(with_a_faint_beginning, sounds), *(0.5 * sound for sound in sounds)]
    assert [len(fingerprints(samples)) for samples in recordings] == [2, 1, 2, 4, 4, 4, 4, 5, 2, 1, 2, 4]
    calls = []

    def waveform(index: int) -> np.ndarray:
        calls.append(index)
        return recordings[index]

    found = likely_copies(np.full((12, 64), 1 / 8, np.float32), waveform)
    assert found == sorted(pair for k in range(4) for pair in ((k, k + 4), (k, k + 8), (k + 4, k + 8)))
    assert sorted(calls) == list(range(12))


def test_nothing_and_a_single_recording_have_no_copies() -> None:
    assert likely([]) == []
    assert likely([hiss(np.random.default_rng(7), 0.3)]) == []
