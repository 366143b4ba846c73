"""Changes of the spectrum: filters, tilt, a telephone."""

import numpy as np
import scipy
from numpy.typing import NDArray

from fastser.evaluation.changes.change import Samples
from fastser.evaluation.changes.level import level

_MU = 255.0


def high_pass(samples: Samples, sample_rate: int, generator: np.random.Generator, *, hertz: float) -> Samples:  # noqa: ARG001
    """Return the samples after a Butterworth high-pass filter of first order."""
    return _filtered(scipy.signal.butter(1, hertz, "highpass", fs=sample_rate, output="sos"), samples)


def low_pass(samples: Samples, sample_rate: int, generator: np.random.Generator, *, hertz: float) -> Samples:  # noqa: ARG001
    """Return the samples after a Butterworth low-pass filter of first order, below half the sample rate."""
    return _filtered(scipy.signal.butter(1, min(hertz, 0.49 * sample_rate), fs=sample_rate, output="sos"), samples)


def tilt(samples: Samples, sample_rate: int, generator: np.random.Generator, *, decibels_per_octave: float) -> Samples:  # noqa: ARG001
    """Return the samples with a spectrum that rises by a number of decibels per octave, at their own level.

    The gain is constant below 50 Hz.
    """
    spectrum = np.fft.rfft(samples.astype(np.float64))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(samples), 1 / sample_rate), 50.0) / 1000.0)
    tilted = np.fft.irfft(spectrum * 10 ** (decibels_per_octave * octaves / 20), len(samples)).astype(np.float32)
    scaled: Samples = tilted * np.float32(level(samples) / level(tilted))
    return scaled


def telephone(samples: Samples, sample_rate: int, generator: np.random.Generator) -> Samples:  # noqa: ARG001
    """Return the samples in the band of a telephone, 300 to 3,400 Hz, with 8 bits of mu-law per sample.

    The waveform stays at its sample rate.
    """
    band = scipy.signal.butter(4, (300.0, min(3400.0, 0.49 * sample_rate)), "bandpass", fs=sample_rate, output="sos")
    filtered = _filtered(band, samples)
    peak = max(float(np.abs(filtered).max()), 1e-9)
    scaled = filtered / peak
    companded = np.sign(scaled) * np.log1p(_MU * np.abs(scaled)) / np.log1p(_MU)
    coded = np.round((companded + 1) / 2 * _MU) / _MU * 2 - 1
    expanded = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU
    heard: Samples = (expanded * peak).astype(np.float32)
    return heard


def _filtered(sections: NDArray[np.float64], samples: Samples) -> Samples:
    filtered: Samples = scipy.signal.sosfilt(sections, samples.astype(np.float64)).astype(np.float32)
    return filtered
