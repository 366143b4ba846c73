"""Pairs of recordings that are copies of each other at another level, rounding, or with other pauses at the ends.

Three rules follow each other, from the cheapest to the one that decides: envelopes agree, magnitudes of the spectrum
agree, and the largest correlation over all shifts is high.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy
from numpy.typing import NDArray

from fastser.data.fingerprints import fingerprints

_SAME_ENVELOPE = 0.9995
"""Cosine of two envelopes above which fingerprints are compared."""

_SAME_MAGNITUDES = 0.04
"""Squared distance of two fingerprints below which recordings are compared sample by sample.

It is twice the largest distance of copies, and a tenth of the distance of independent noise.
"""

_SAME_SHAPE = 0.99
"""Correlation coefficient above which two recordings are the same audio."""

_ROWS = 1024
"""Recordings that are compared with all others at a time, which bounds the memory."""


def likely_copies(
    envelopes: NDArray[np.float32], waveform: Callable[[int], NDArray[np.float32]]
) -> list[tuple[int, int]]:
    """Return the pairs of recordings whose envelopes and fingerprints agree, the smaller index first, in order.

    Args:
        envelopes: Envelope of each recording, float32 [recordings, 64], see `envelope_of`.
        waveform: Gives the samples of a recording, float32 [samples], at one sample rate. It is called once, in one of
            several threads, for each recording whose envelope agrees with that of another.
    """
    chosen = np.flatnonzero(_have_a_neighbour(envelopes))
    if len(chosen) == 0:
        return []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        prints = list(pool.map(lambda index: fingerprints(waveform(index)), chosen.tolist()))
    periods = np.array([len(rows) for rows in prints])
    found = []
    for period in np.unique(periods).tolist():
        long = np.flatnonzero(periods >= period)
        rows = np.stack([prints[place][period - 1] for place in long])
        own = np.flatnonzero(periods[long] == period)
        for begin in range(0, len(own), _ROWS):
            some = own[begin : begin + _ROWS]
            near = _squared_distances(rows[some], rows) < _SAME_MAGNITUDES
            near &= envelopes[chosen[long[some]]] @ envelopes[chosen[long]].T > _SAME_ENVELOPE
            near &= (periods[long] > period) | (long[some, None] < long)  # a pair of one period counts once
            first, second = (chosen[long[places]] for places in (some[near.nonzero()[0]], near.nonzero()[1]))
            found.append(np.sort(np.stack([first, second], 1), axis=1))
    return sorted(map(tuple, np.concatenate(found).tolist()))


def is_copy(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Return whether the correlation coefficient of two waveforms is above 0.99 at any shift, whatever the sign.

    Args:
        a: Waveform, float32 [samples].
        b: Waveform at the same sample rate, float32 [samples].
    """
    products = scipy.signal.correlate(a.astype(np.float64), b.astype(np.float64), method="fft")
    return bool(np.abs(products).max() > _SAME_SHAPE * np.linalg.norm(a) * np.linalg.norm(b))


def _have_a_neighbour(envelopes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which envelopes agree with another one than themselves, bool [recordings]."""
    found = np.zeros(len(envelopes), bool)
    for begin in range(0, len(envelopes), _ROWS):
        agree = envelopes[begin : begin + _ROWS] @ envelopes.T > _SAME_ENVELOPE
        found[begin : begin + _ROWS] = agree.sum(axis=1) > 1
    return found


def _squared_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared distance of each row of `a` to each row of `b`, float32 [rows of a, rows of b]."""
    distances: NDArray[np.float32] = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * (a @ b.T)
    return distances
