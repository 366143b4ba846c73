"""Trials of models that take the spectrogram of a whole utterance."""

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from fastser.attacks import Attack
from fastser.data.features import FeatureExtractor, num_frames, segment_table
from fastser.data.utterance_frames import utterance_frames
from fastser.evaluation.inference import outputs_of
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.evaluation.trial import Perturb, PositionChange

_FRAMES_PER_BLOCK = 1024
"""Frames computed together, so that every utterance has the same shapes. No result depends on it."""


class UtteranceTrial(SegmentTrial):
    """A model of whole utterances, and its test set.

    The model takes one utterance at a time, [1, frames, bins], so nothing is padded. Noise, normalisation and the scale
    of attacks are those of `SegmentTrial`.
    """

    def perturbed(self, perturb: Perturb) -> Tensor:
        """Return the posteriors for perturbed spectrograms.

        Args:
            perturb: Maps a normalised spectrogram [1, frames, bins] and its true label [1] to the spectrogram that the
                model is tested on.
        """
        frames = utterance_frames(self.test.dataset.bank, self.test.utterances, self.normalisation)
        inputs = (perturb(of_one[None], label) for of_one, label in zip(frames, self._labels, strict=True))
        return outputs_of(self.model, inputs, self.on_batch)

    def attacked_waveform(self, build: Callable[[nn.Module], Attack]) -> Tensor:
        """Return the posteriors for adversarial waveforms."""
        module = _FromWaveform(self.model, self._spectrogram)
        attack = build(module)

        def inputs() -> Iterator[Tensor]:
            for waveform, label in zip(self._waveforms(), self._labels, strict=True):
                with torch.enable_grad():
                    adversarial = attack(waveform[None], label).detach()
                yield module.spectrogram(adversarial[0])

        return outputs_of(self.model, inputs(), self.on_batch)

    def noisy(self, scene: str, snr_db: float) -> Tensor:
        """Return the posteriors with one noise scene added to every utterance.

        The noise is added to the waveform while its spectrogram is computed.
        """
        index = self.noise_draw.scenes.index(scene)
        starts, gains = self.noise_draw.start[index], self.noise_draw.gain(snr_db)[index]
        inputs = (
            self._spectrogram(waveform, start, gain)
            for waveform, start, gain in zip(self._waveforms(), starts.tolist(), gains.tolist(), strict=True)
        )
        return outputs_of(self.model, inputs, self.on_batch)

    def changed_by_position(self, change: PositionChange) -> Tensor:
        """Return the posteriors for changed waveforms."""
        changed = (self.changed_waveform(position, change) for position in range(len(self.test.utterances)))
        inputs = (self._spectrogram(torch.from_numpy(samples).to(self.test.segments.device)) for samples in changed)
        return outputs_of(self.model, inputs, self.on_batch)

    def _spectrogram(self, waveform: Tensor, noise_start: int = 0, noise_gain: float | None = None) -> Tensor:
        """Return the normalised spectrogram of an utterance, float32 [1, frames, bins].

        Args:
            waveform: Samples, float32 [samples].
            noise_start: First sample of the noise.
            noise_gain: Gain of the noise, or None for no noise.
        """
        settings, device = self._blocks.settings, waveform.device
        waveform = nn.functional.pad(waveform, (0, max(0, settings.win_length - len(waveform))))
        total = num_frames(np.array([len(waveform)]), settings)
        _, first, frames = (torch.from_numpy(part).to(device) for part in segment_table(total, settings))
        start, noise = first * settings.hop_length, {}
        if noise_gain is not None:
            gain = torch.full(start.shape, noise_gain, dtype=torch.float32, device=device)
            noise = {"noise": self._noise_samples, "noise_start": noise_start + start, "noise_gain": gain}
        blocks = self._blocks(waveform, start, frames, normalisation=self.normalisation, **noise)
        return blocks.flatten(0, 1)[None, : int(total[0])]

    @cached_property
    def _blocks(self) -> FeatureExtractor:
        """Feature extractor of blocks of frames."""
        blocks = {"segment_frames": _FRAMES_PER_BLOCK, "segment_hop": _FRAMES_PER_BLOCK}
        settings = self.settings.spectrogram.model_copy(update=blocks)
        return FeatureExtractor.create(settings, self.settings.audio.sample_rate, self.test.segments.device)

    @cached_property
    def _labels(self) -> tuple[Tensor, ...]:
        """Label of each utterance, int64 [1]."""
        labels: tuple[Tensor, ...] = self.test.dataset.labels[list(self.test.utterances)].split(1)
        return labels

    def _waveforms(self) -> Iterator[Tensor]:
        """Yield the samples of each utterance, float32 [samples]."""
        offsets = self.test.dataset.waveforms.offsets
        for index in self.test.utterances:
            yield self.test.dataset.samples[int(offsets[index]) : int(offsets[index + 1])]


class _FromWaveform(nn.Module):
    """A model of spectrograms as a model of one waveform, [1, samples] -> [1, classes]."""

    def __init__(self, model: nn.Module, spectrogram: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.spectrogram = spectrogram

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the logits of a waveform."""
        logits: Tensor = self.model(self.spectrogram(waveform[0]))
        return logits
