"""Additive noise for a test set: random excerpts and the gain that gives an SNR.

Source: Latif et al. 2020, section 5.2.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fastser.data.packed_audio import PackedWaveforms
from fastser.runtime.errors import UserError
from fastser.runtime.files import storable

_SILENT_EXCERPT_DB = -20.0  # relative to the level of the recording
_DRAWS = 50  # attempts to find an excerpt that is not silent


class NoiseError(UserError, ValueError):
    """Noise that cannot be mixed with an utterance. The message is one sentence."""


def snr_gain(speech: npt.NDArray[np.float32], noise: npt.NDArray[np.float32], snr_db: float) -> float:
    """Return the gain of `noise` that gives an SNR.

    Both levels are the root mean square of the whole signal, without voice activity detection.

    Args:
        speech: Speech, float32 [samples].
        noise: Noise that is not silent, float32 [samples].
        snr_db: Signal-to-noise ratio in decibels.
    """
    return float(_rms(speech) / _rms(noise) * 10.0 ** (-snr_db / 20.0))


@dataclass(frozen=True)
class NoiseBank:
    """Decoded noise recordings.

    Attributes:
        waveforms: Waveforms of all recordings.
        scenes: Scene of each recording, in the order of `waveforms`.
        sample_rate: Sample rate of the waveforms in hertz.
    """

    waveforms: PackedWaveforms
    scenes: tuple[str, ...]
    sample_rate: int

    @cached_property
    def _levels(self) -> list[float]:
        return [_rms(self.waveforms[i]) for i in range(len(self.scenes))]

    def draw(self, scene: str, length: int, rng: np.random.Generator) -> int:
        """Draw an excerpt uniformly from the recordings of a scene that are long enough.

        An excerpt more than 20 dB below the level of its recording is drawn again. Noise scaled to an SNR by the level
        of a pause would be far too loud in the rest of the excerpt.

        Args:
            scene: Name of the scene.
            length: Length of the excerpt in samples.
            rng: Random generator.

        Returns:
            Index of the first sample of the excerpt in `waveforms.samples`.

        Raises:
            NoiseError: If no recording of the scene is long enough, or if all drawn excerpts are silent.
        """
        offsets = self.waveforms.offsets
        lengths = np.where(np.array(self.scenes) == scene, np.diff(offsets), 0)
        places = (lengths - length + 1).clip(min=0)
        if not places.any():
            raise NoiseError(
                f"noise scene '{scene}' has no recording as long as an utterance of {length / self.sample_rate:.2f} s "
                f"({length} samples); its longest has {lengths.max() / self.sample_rate:.2f} s. "
                "Add longer recordings, or leave the scene out of noise.scenes"
            )
        for _ in range(_DRAWS):
            recording = int(rng.choice(len(places), p=places / places.sum()))
            start = int(offsets[recording] + rng.integers(places[recording]))
            floor = self._levels[recording] * 10.0 ** (_SILENT_EXCERPT_DB / 20.0)
            if _rms(self.waveforms.samples[start : start + length]) > floor:
                return start
        raise NoiseError(f"noise scene '{scene}' is silent almost everywhere; leave it out of noise.scenes")


@dataclass(frozen=True)
class NoiseDraw:
    """Noise of one test set: an excerpt per scene and utterance, and a random scene per utterance.

    Attributes:
        scenes: Names of the scenes.
        start: Index of the first noise sample, int64 [scenes, utterances].
        gain_at_0db: Gain of the excerpt for an SNR of 0 dB, float32 [scenes, utterances].
        drawn: Index of the random scene of each utterance, int64 [utterances]. The paper adds noise "randomly".
    """

    scenes: tuple[str, ...]
    start: npt.NDArray[np.int64]
    gain_at_0db: npt.NDArray[np.float32]
    drawn: npt.NDArray[np.int64]

    def gain(self, snr_db: float) -> npt.NDArray[np.float32]:
        """Return the gain of each excerpt for an SNR in decibels, float32 [scenes, utterances]."""
        return self.gain_at_0db * np.float32(10.0 ** (-snr_db / 20.0))


def draw_noise(
    noise: NoiseBank, scenes: Sequence[str], speech: PackedWaveforms, utterances: Sequence[tuple[int, str]], seed: int
) -> NoiseDraw:
    """Draw the noise of a test set.

    The draw of an utterance follows from the seed, its id and length, the scenes and the recordings. It does not depend
    on the other utterances.

    Args:
        noise: Noise recordings.
        scenes: Names of the scenes.
        speech: Waveforms of the corpus.
        utterances: Index in `speech` and id of each test utterance.
        seed: Seed of the draw.

    Raises:
        NoiseError: If the recordings of a scene are too short for an utterance, or silent.
    """
    start = np.empty((len(scenes), len(utterances)), np.int64)
    gain = np.empty((len(scenes), len(utterances)), np.float32)
    drawn = np.empty(len(utterances), np.int64)
    for column, (index, name) in enumerate(utterances):
        rng = np.random.default_rng(int(hashlib.sha256(f"{seed} {storable(name)}".encode()).hexdigest()[:16], 16))
        utterance = speech[index]
        drawn[column] = rng.integers(len(scenes))
        for row, scene in enumerate(scenes):
            first = noise.draw(scene, len(utterance), rng)
            start[row, column] = first
            gain[row, column] = snr_gain(utterance, noise.waveforms.samples[first : first + len(utterance)], 0.0)
    return NoiseDraw(tuple(scenes), start, gain, drawn)


def _rms(signal: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
