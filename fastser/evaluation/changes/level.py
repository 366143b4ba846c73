"""Changes of the level, and sounds that are added to the speech."""

import numpy as np

from fastser.evaluation.changes.change import Samples

_SILENCE = 1e-9


def gain(samples: Samples, sample_rate: int, generator: np.random.Generator, *, decibels: float) -> Samples:  # noqa: ARG001
    """Return the samples louder by a number of decibels, cut at full scale."""
    return (samples * np.float32(10 ** (decibels / 20))).clip(-1, 1)


def offset(samples: Samples, sample_rate: int, generator: np.random.Generator, *, share: float) -> Samples:  # noqa: ARG001
    """Return the samples with a constant added, a share of their root mean square."""
    return samples + np.float32(share * level(samples))


def clip(samples: Samples, sample_rate: int, generator: np.random.Generator, *, share: float) -> Samples:  # noqa: ARG001
    """Return the samples cut at the magnitude that a share of them exceeds."""
    limit = np.quantile(np.abs(samples), 1 - share).astype(np.float32)
    return samples.clip(-limit, limit)


def white_noise(samples: Samples, sample_rate: int, generator: np.random.Generator, *, snr_db: float) -> Samples:  # noqa: ARG001
    """Return the samples with Gaussian noise at an SNR."""
    noise = generator.standard_normal(len(samples)).astype(np.float32)
    return samples + noise * np.float32(level(samples) * 10 ** (-snr_db / 20))


def tone(samples: Samples, sample_rate: int, generator: np.random.Generator, *, snr_db: float) -> Samples:
    """Return the samples with a sine between 5 and 7 kHz, or below half the sample rate, at an SNR."""
    top = 0.5 * sample_rate
    hertz = generator.uniform(min(5000.0, 0.625 * top), min(7000.0, 0.9 * top))
    phase = 2 * np.pi * (hertz * np.arange(len(samples)) / sample_rate + generator.random())
    return samples + np.float32(np.sqrt(2) * level(samples) * 10 ** (-snr_db / 20)) * np.sin(phase).astype(np.float32)


def level(samples: Samples) -> float:
    """Return the root mean square of samples, and a tiny number for silence."""
    return max(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))), _SILENCE)
