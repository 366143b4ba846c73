"""Small changes of a waveform: what each does, against scipy or by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from fastser.evaluation.changes import CHANGES
from fastser.evaluation.changes.level import level

pytestmark = pytest.mark.fast
RATE = 16_000


def speech(seconds: float = 2.0) -> NDArray[np.float32]:
    """Return noise with pauses, as loud as speech."""
    generator = np.random.default_rng(1)
    samples = generator.normal(0, 0.05, int(seconds * RATE)) * (1 + np.sin(np.arange(int(seconds * RATE)) / 900))
    return samples.astype(np.float32)


def changed(name: str, samples: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    return CHANGES[name].apply(samples, RATE, np.random.default_rng(seed))


def power_at(samples: NDArray[np.float32], hertz: float) -> float:
    frequencies, power = signal.welch(samples.astype(np.float64), RATE, nperseg=4096)
    return float(power[np.abs(frequencies - hertz).argmin()])


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_keeps_the_samples_finite_and_leaves_its_input_alone(name: str) -> None:
    before = speech()
    samples = before.copy()
    result = changed(name, samples)
    np.testing.assert_array_equal(samples, before)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert result.shape != before.shape or (result != before).any()
    for short in (np.zeros(500, np.float32), before[:1]):
        assert np.isfinite(changed(name, short)).all()
        assert len(changed(name, short)) >= 1
    np.testing.assert_array_equal(changed(name, samples), changed(name, samples))


def test_gain_and_offset_and_clipping() -> None:
    samples = speech()
    np.testing.assert_allclose(changed("gain-2db", samples), samples * 10 ** (-0.1), rtol=1e-5)
    np.testing.assert_allclose((changed("offset", samples) - samples).mean(), 0.1 * level(samples), rtol=1e-3)
    clipped = changed("clipping-0.3%", samples)
    assert (clipped != samples).mean() == pytest.approx(0.003, abs=2e-4)
    assert np.abs(clipped).max() < np.abs(samples).max()


def test_ends_are_cut_and_padded() -> None:
    samples = speech()
    np.testing.assert_array_equal(changed("crop-start-500", samples), samples[500:])
    np.testing.assert_array_equal(changed("crop-end-1000", samples), samples[:-1000])
    np.testing.assert_array_equal(changed("zeros-before-100", samples), np.r_[np.zeros(100, np.float32), samples])
    np.testing.assert_array_equal(changed("zeros-after-100", samples), np.r_[samples, np.zeros(100, np.float32)])


@pytest.mark.parametrize(("name", "snr_db"), [("white-noise-35db", 35), ("tone-40db", 40)])
def test_added_sounds_are_at_their_snr(name: str, snr_db: float) -> None:
    samples = speech()
    added = changed(name, samples).astype(np.float64) - samples
    assert 20 * np.log10(level(samples) / np.sqrt(np.mean(added**2))) == pytest.approx(snr_db, abs=0.1)
    assert (changed(name, samples, seed=1) != changed(name, samples, seed=2)).any()


def test_tone_is_a_sine_between_5_and_7_khz() -> None:
    samples = speech()
    added = changed("tone-40db", samples).astype(np.float64) - samples
    spectrum = np.abs(np.fft.rfft(added))
    assert 5000 <= spectrum.argmax() * RATE / len(samples) <= 7000


@pytest.mark.parametrize(
    ("name", "hertz", "decibels"),
    [("high-pass-150hz", 150, -3.0), ("low-pass-6500hz", 6500, -3.0), ("tilt+3db", 4000, 6.0), ("tilt-3db", 500, 3.0)],
)
def test_spectrum_changes_by_the_stated_decibels(name: str, hertz: float, decibels: float) -> None:
    """A first-order filter is at -3 dB at its corner. A tilt is relative to 1 kHz, apart from the level."""
    samples = np.random.default_rng(2).normal(0, 0.05, 40 * RATE).astype(np.float32)
    result = changed(name, samples)
    gain = 10 * np.log10(power_at(result, hertz) / power_at(samples, hertz))
    if name.startswith("tilt"):
        gain -= 10 * np.log10(power_at(result, 1000) / power_at(samples, 1000))
        assert level(result) == pytest.approx(level(samples), rel=1e-3)
    assert gain == pytest.approx(decibels, abs=0.7)


def test_telephone_has_no_bass_no_treble_and_eight_bits() -> None:
    samples = np.random.default_rng(3).normal(0, 0.05, 20 * RATE).astype(np.float32)
    result = changed("telephone", samples)
    for hertz in (60, 6000):
        assert power_at(result, hertz) < 0.01 * power_at(samples, hertz)
    assert power_at(result, 1000) == pytest.approx(power_at(samples, 1000), rel=0.1)
    assert len(np.unique(result)) <= 256


@pytest.mark.parametrize("seconds", [0.3, 0.6])
def test_a_room_decays_by_60_db_in_its_reverberation_time(seconds: float) -> None:
    click = np.zeros(2 * RATE, np.float32)
    click[0] = 0.5
    heard = changed(f"room-{seconds:g}s", click).astype(np.float64)
    decay = np.cumsum(heard[:0:-1] ** 2)[::-1]
    decibels = 10 * np.log10(decay[: int(seconds * RATE)] / decay[0])
    at = [int(np.argmax(decibels < -5)), int(np.argmax(decibels < -25))]
    assert 3 * (at[1] - at[0]) / RATE == pytest.approx(seconds, rel=0.1)
    assert 10 * np.log10(heard[0] ** 2 / decay[0]) == pytest.approx(0, abs=0.1)
