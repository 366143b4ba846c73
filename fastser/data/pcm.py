"""Samples of 16-bit PCM, the coding of most speech corpora.

They need no decoder. libsndfile reads a content in memory through callbacks, which take longer than the conversion of a
short recording.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_FULL_SCALE = 2**15


@dataclass(frozen=True, slots=True)
class Pcm16:
    """The place of little-endian 16-bit samples in a file.

    Attributes:
        start: First byte of the samples.
        frames: Number of samples of each channel.
        channels: Number of channels.
        rate: Sample rate in hertz.
    """

    start: int
    frames: int
    channels: int
    rate: int

    def decode(self, content: bytes) -> npt.NDArray[np.float32]:
        """Return the samples of a file, float32 [frames, channels], full scale is 1. They are those of libsndfile."""
        scaled: npt.NDArray[np.float32] = np.multiply(
            self.integers(content), np.float32(1 / _FULL_SCALE), dtype=np.float32
        )
        return scaled

    def integers(self, content: bytes) -> npt.NDArray[np.int16]:
        """Return the samples of a file as they are stored, int16 [frames, channels]."""
        samples = np.frombuffer(content, "<i2", self.frames * self.channels, self.start)
        return samples.reshape(self.frames, self.channels)
