"""Changed log-spectrograms back to waveforms, with the phase of the original."""

import numpy as np
from numpy.typing import NDArray

from fastser.data.features import FeatureExtractor

Array = NDArray[np.float64]


def with_gains(samples: NDArray[np.float32], gains_db: NDArray[np.float32], extract: FeatureExtractor) -> Array:
    """Return a waveform whose log-spectrogram is changed by gains, float64 [samples].

    Each frame is analysed with the window of the spectrogram, its spectrum is multiplied by the gains, and the frames
    are overlapped and added, weighted by the window again (Griffin and Lim 1984, equation 6). Phase is kept. Bins that
    the spectrogram leaves out and samples behind the last frame stay as they are.

    Args:
        samples: The original, float32 [samples].
        gains_db: Change of each value of its log-spectrogram in decibels, float32 [frames, bins].
        extract: Window, sizes and filterbank of the spectrogram.
    """
    settings, window = extract.settings, extract.window.cpu().numpy().astype(np.float64)
    frames, length = len(gains_db), settings.win_length
    padded = np.zeros(max(len(samples), (frames - 1) * settings.hop_length + length))
    padded[: len(samples)] = samples
    gains = 10.0 ** (_by_frequency(gains_db, extract) / 20.0)
    changed, weight = np.zeros_like(padded), np.zeros_like(padded)
    for frame in range(frames):
        place = slice(frame * settings.hop_length, frame * settings.hop_length + length)
        spectrum = np.fft.rfft(padded[place] * window, settings.n_fft) * gains[frame]
        changed[place] += np.fft.irfft(spectrum, settings.n_fft)[:length] * window
        weight[place] += window**2
    covered = weight > 0
    padded[covered] = changed[covered] / weight[covered]
    return padded[: len(samples)]


def _by_frequency(gains_db: NDArray[np.float32], extract: FeatureExtractor) -> Array:
    """Return gains in decibels for every bin of the Fourier transform, [frames, n_fft // 2 + 1].

    A bin under mel filters takes the mean of their gains, weighted by the filters (the transposed filterbank). Other
    bins have no gain.
    """
    found = np.zeros((len(gains_db), extract.settings.n_fft // 2 + 1))
    if extract.filterbank is None:
        found[:, : gains_db.shape[1]] = gains_db
        return found
    filters = extract.filterbank.cpu().numpy().astype(np.float64)
    total = filters.sum(axis=1)
    under = total > 0
    found[:, under] = (gains_db @ filters.T)[:, under] / total[under]
    return found
