"""What is done to speech: mixup for training (paper 4.3), noise at an SNR for tests (paper 5.2)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastser.waveforms import PackedWaveforms

_SILENT_EXCERPT_DB = -20.0
_DRAWS = 50


class NoiseError(ValueError):
    """Noise that cannot be mixed with an utterance, in one sentence."""


def draw_mixup(
    batch: int, alpha: float, *, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Draw mixup partners and weights on the device, without synchronisation.

    Args:
        batch: Number of samples.
        alpha: Parameter of the symmetric Beta distribution.
        generator: Random generator of that device.
        device: Where the draw happens.

    Returns:
        A permutation [batch] int64 and one weight per sample [batch] float32, from Beta(alpha, alpha).
    """
    partner = torch.randperm(batch, generator=generator, device=device)
    # Gamma(alpha) = Gamma(alpha + 1) * uniform ** (1 / alpha), in logarithms because a small alpha would underflow.
    shape = torch.full((2, batch), alpha + 1.0, dtype=torch.float64, device=device)
    uniform = 1.0 - torch.rand(2, batch, dtype=torch.float64, device=device, generator=generator)
    log_gamma = torch._standard_gamma(shape, generator=generator).log() + uniform.log() / alpha
    return partner, torch.sigmoid(log_gamma[0] - log_gamma[1]).float()


def mixup(
    x: Tensor, y: Tensor, alpha: float, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mix each sample of a batch with another one (Zhang et al. 2018; paper equations 3 and 4).

    Args:
        x: Any floating-point batch, [batch, ...].
        y: Labels, [batch]; any dtype, they are not changed.
        alpha: Parameter of the Beta distribution from which each sample's own weight is drawn; greater than 0.
        generator: Random generator of `x`'s device.

    Returns:
        `(mixed, y_a, y_b, lam)`, with `mixed = lam * x + (1 - lam) * partner` and `lam` [batch] float32. The loss is
        `lam * CE(mixed, y_a) + (1 - lam) * CE(mixed, y_b)`, per sample.

    Raises:
        ValueError: If `alpha` is not positive, or `x` and `y` differ in length.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be greater than 0, got {alpha}")
    if len(x) != len(y):
        raise ValueError(f"x and y must have the same length, got {len(x)} and {len(y)}")
    partner, lam = draw_mixup(len(x), alpha, generator=generator, device=x.device)
    weight = lam.to(x.dtype).view(-1, *(1,) * (x.dim() - 1))
    return torch.lerp(x[partner], x, weight), y, y[partner], lam


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
