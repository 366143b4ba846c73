"""A synthetic room: a direct sound and a tail of noise that decays exponentially."""

import numpy as np
import scipy

from fastser.evaluation.changes.change import Samples
from fastser.evaluation.changes.level import level

_FIRST_REFLECTION_SECONDS = 0.005


def reverberate(
    samples: Samples,
    sample_rate: int,
    generator: np.random.Generator,
    *,
    seconds: float,
    direct_to_reverberant_db: float,
) -> Samples:
    """Return the samples in a room, at their own level and of their own length.

    The impulse response is one, and from 5 ms on Gaussian noise whose level falls by 60 dB in `seconds` (Polack 1988).

    Args:
        samples: Speech, float32 [n].
        sample_rate: In hertz.
        generator: Source of the noise.
        seconds: Reverberation time (RT60).
        direct_to_reverberant_db: Energy of the direct sound over that of the tail, in decibels.
    """
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    tail[time < _FIRST_REFLECTION_SECONDS] = 0
    response = tail * 10 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.square(tail).sum())
    response[0] = 1
    heard = scipy.signal.fftconvolve(samples.astype(np.float64), response)[: len(samples)].astype(np.float32)
    scaled: Samples = heard * np.float32(level(samples) / level(heard))
    return scaled
