"""Noise on a test set: excerpts drawn from a seed, and the factor that sets an SNR (paper 5.2)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fastser.data.packed_audio import PackedWaveforms

_SILENT_EXCERPT_DB = -20.0
_DRAWS = 50


class NoiseError(ValueError):
    """Noise that cannot be mixed with an utterance, in one sentence."""


def snr_gain(speech: npt.NDArray[np.float32], noise: npt.NDArray[np.float32], snr_db: float) -> float:
    """Factor by which `noise` is to be multiplied so that speech and noise stand at `snr_db`.

    Both levels are the root mean square of the whole excerpt, without voice activity detection.
    """
    return float(_rms(speech) / _rms(noise) * 10.0 ** (-snr_db / 20.0))


@dataclass(frozen=True)
class NoiseBank:
    """Noise recordings, decoded and packed.

    Attributes:
        waveforms: All recordings end to end.
        scenes: Scene of each recording, in the order of `waveforms`.
        sample_rate: Of the waveforms, in hertz.
    """

    waveforms: PackedWaveforms
    scenes: tuple[str, ...]
    sample_rate: int

    @cached_property
    def _levels(self) -> list[float]:
        return [_rms(self.waveforms[i]) for i in range(len(self.scenes))]

    def draw(self, scene: str, length: int, rng: np.random.Generator) -> int:
        """Draw the first sample of an excerpt of `length` samples, uniformly over all of the scene's long recordings.

        Excerpts more than 20 dB below their recording's own level are drawn again: an SNR set on a pause of a
        recording would make the rest of it a burst.

        Raises:
            NoiseError: If no recording of the scene is long enough.
        """
        offsets = self.waveforms.offsets
        lengths = np.where(np.array(self.scenes) == scene, np.diff(offsets), 0)
        places = (lengths - length + 1).clip(min=0)
        if not places.any():
            raise NoiseError(
                f"noise scene '{scene}' has no recording as long as an utterance of {length / self.sample_rate:.2f} s "
                f"({length} samples); its longest has {lengths.max() / self.sample_rate:.2f} s"
            )
        for _ in range(_DRAWS):
            recording = int(rng.choice(len(places), p=places / places.sum()))
            start = int(offsets[recording] + rng.integers(places[recording]))
            floor = self._levels[recording] * 10.0 ** (_SILENT_EXCERPT_DB / 20.0)
            if _rms(self.waveforms.samples[start : start + length]) > floor:
                return start
        raise NoiseError(f"noise scene '{scene}' is silent almost everywhere")


@dataclass(frozen=True)
class NoiseDraw:
    """The noise of one test set: for every scene an excerpt per utterance, and the scene that each utterance drew.

    Attributes:
        scenes: Names of the scenes.
        start: First noise sample, int64 [scenes, utterances].
        gain_at_0db: Factor of the excerpt for an SNR of 0 dB, float32 [scenes, utterances].
        drawn: Index of the scene that the paper's "randomly added" noise takes for each utterance, int64 [utterances].
    """

    scenes: tuple[str, ...]
    start: npt.NDArray[np.int64]
    gain_at_0db: npt.NDArray[np.float32]
    drawn: npt.NDArray[np.int64]

    def gain(self, snr_db: float) -> npt.NDArray[np.float32]:
        """Factor of each excerpt, which is the same at every SNR, at one in dB: float32 [scenes, utterances]."""
        return self.gain_at_0db * np.float32(10.0 ** (-snr_db / 20.0))


def draw_noise(
    noise: NoiseBank, scenes: Sequence[str], speech: PackedWaveforms, utterances: Sequence[tuple[int, str]], seed: int
) -> NoiseDraw:
    """Draw the noise of a test set; each utterance's draw depends on the seed and its id alone.

    Args:
        noise: Where the excerpts come from.
        scenes: Scenes to draw from.
        speech: The corpus.
        utterances: Index in `speech` and id of each test utterance.
        seed: Seed of the draw.
    """
    start = np.empty((len(scenes), len(utterances)), np.int64)
    gain = np.empty((len(scenes), len(utterances)), np.float32)
    drawn = np.empty(len(utterances), np.int64)
    for column, (index, name) in enumerate(utterances):
        rng = np.random.default_rng(int(hashlib.sha256(f"{seed} {name}".encode()).hexdigest()[:16], 16))
        utterance = speech[index]
        drawn[column] = rng.integers(len(scenes))
        for row, scene in enumerate(scenes):
            first = noise.draw(scene, len(utterance), rng)
            start[row, column] = first
            gain[row, column] = snr_gain(utterance, noise.waveforms.samples[first : first + len(utterance)], 0.0)
    return NoiseDraw(tuple(scenes), start, gain, drawn)


def _rms(signal: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
