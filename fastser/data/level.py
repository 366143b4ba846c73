"""Level of recordings: kept as recorded, or made equal (open question 39)."""

import numpy as np
from numpy.typing import NDArray

from fastser.data.cached_arrays import CachedArray
from fastser.data.packed_audio import PackedWaveforms
from fastser.runtime.digests import digest

LEVEL_DB = -26.0
"""Level of all recordings in dB below full scale, the usual one of speech tests (ITU-T P.56)."""

_FORMAT = 1


def at_equal_level(waveforms: PackedWaveforms) -> PackedWaveforms:
    """Return the recordings scaled to one root mean square, from the cache if it holds them.

    The level is that of the whole recording, without voice activity detection.

    Args:
        waveforms: Decoded recordings. None is silent, since digital silence is refused as unusable.
    """
    key = digest("level", _FORMAT, waveforms.key, LEVEL_DB)
    array = CachedArray.named(f"level-{key}")
    if array.load() is None:
        with array.writing() as writer:
            for index in range(len(waveforms.offsets) - 1):
                writer.append(scaled_to_level(waveforms[index]))
        array.save_index({}, writer)
    return PackedWaveforms(array.map(), waveforms.offsets, waveforms.bad, key, waveforms.digests)


def scaled_to_level(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a recording that is not silent, scaled to a root mean square of `LEVEL_DB`, float32 [samples]."""
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return samples * np.float32(10 ** (LEVEL_DB / 20) / level)
