"""Descriptions of a recording that copies share: levels over time, and magnitudes of the spectrum.

A copy has another level, rounding, sample rate, or other pauses at the ends.
"""

from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray

_TRIM_DB = -40.0
"""Level below which the ends of a recording are quiet, in dB relative to its peak."""

_PARTS = 64

_SHORTEST_PERIOD = 1 << 15
"""Shortest period at which spectra are compared, in samples. Shorter recordings are padded to it."""

_SIZE = 512
"""Values of a fingerprint. The relative error of a squared distance is sqrt(2 / 512), about 6 %."""


def envelope_of(samples: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return the level in equal parts of the recording without its quiet ends, at norm 1, or None for silence.

    Args:
        samples: Waveform, float32 [samples].

    Returns:
        Root of the power in each part, float32 [64].
    """
    power = np.square(loud_part(samples), dtype=np.float64)
    if len(power) == 0:
        return None
    edges = np.linspace(0, len(power), _PARTS + 1).astype(int)[:-1]
    sums = np.sqrt(np.add.reduceat(power, np.minimum(edges, len(power) - 1)))
    envelope: NDArray[np.float32] = (sums / np.linalg.norm(sums)).astype(np.float32)
    return envelope


def loud_part(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a recording without its quiet ends, or an empty array for silence."""
    levels = np.abs(samples)
    peak = float(levels.max(initial=0.0))
    if peak == 0:
        return samples[:0]
    loud = np.flatnonzero(levels > peak * 10 ** (_TRIM_DB / 20))
    return samples[loud[0] : loud[-1] + 1]


def fingerprints(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the magnitudes of the spectrum of the loud part, at norm 1 and projected onto a few numbers.

    A shift changes no magnitude of a spectrum. So the correlation of two recordings is at most the cosine of their
    magnitudes, whatever the shift: copies with a correlation of 0.99 have a squared distance of at most 0.02.
    Independent noise has independent magnitudes, with a cosine of pi/4 (the squared mean of a Rayleigh distribution
    over its mean square) and a squared distance of 0.43. The projection adds up magnitudes with random signs in random
    places, which keeps distances (the count sketch of Charikar, Chen and Farach-Colton 2002).

    Spectra are comparable if their periods are equal. A recording that is longer than the period is folded: its
    samples are added up modulo the period.

    Args:
        samples: Waveform, float32 [samples], at a sample rate that all recordings share.

    Returns:
        float32 [periods, 512]. Row k is for a period of 2^(15 + k) samples. The last period is the first that is not
        shorter than the loud part.
    """
    loud = loud_part(samples)
    own = max(_SHORTEST_PERIOD, 1 << max(len(loud) - 1, 0).bit_length())
    rows = []
    while own >= _SHORTEST_PERIOD:
        folded = np.zeros(own, np.float32)
        for begin in range(0, len(loud), own):
            piece = loud[begin : begin + own]
            folded[: len(piece)] += piece
        rows.append(_projected(folded))
        own //= 2
    return np.stack(rows[::-1])


def _projected(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the magnitudes of a spectrum, at norm 1 and projected, float32 [512]."""
    magnitudes = np.abs(scipy.fft.rfft(samples))
    magnitudes[[0, -1]] *= 0.5**0.5  # each of the others stands for a negative frequency too
    places, signs = _projection(len(magnitudes))
    sums = np.bincount(places, magnitudes * signs, _SIZE)
    projected: NDArray[np.float32] = (sums / (np.linalg.norm(magnitudes) or 1)).astype(np.float32)
    return projected


@lru_cache(maxsize=4)
def _projection(count: int) -> tuple[NDArray[np.int16], NDArray[np.int8]]:
    """Return the place and the sign of each magnitude in the projection. Every call gives the same ones."""
    drawn = np.random.default_rng(count).integers(0, 2 * _SIZE, count, dtype=np.int16)
    return drawn // 2, (1 - 2 * (drawn % 2)).astype(np.int8)
