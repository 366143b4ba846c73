"""Trials of models that take the spectrogram of a whole utterance."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

from fastser.attacks import Attack
from fastser.data.features import FeatureExtractor, in_blocks
from fastser.data.normalisation import IDENTITY, Normalisation
from fastser.data.utterance_frames import utterance_frames
from fastser.evaluation.inference import outputs_of
from fastser.evaluation.recordings import Parts, Recordings, Segments, segments_of
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.evaluation.trial import Perturb

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
        inputs = (perturb(of_one[None], label) for of_one, label in zip(self._frames(), self._labels, strict=True))
        return outputs_of(self.model, inputs, self.on_batch)

    @cached_property
    def input_range(self) -> tuple[float, float]:
        """Smallest and largest value of the normalised spectrograms."""
        ends = [of_one.aminmax() for of_one in self._frames()]
        return min(float(end.min) for end in ends), max(float(end.max) for end in ends)

    def attacked_waveform(self, build: Callable[[nn.Module], Attack]) -> Tensor:
        """Return the posteriors for adversarial waveforms."""
        module = _FromWaveform(self.model, partial(self._spectrogram, IDENTITY, self._clean_standardisation))
        attack, samples = build(module), self.test.dataset.samples

        def inputs() -> Iterator[Tensor]:
            for row, label in enumerate(self._labels):
                begin, length = int(self._offsets[row]), int(self._lengths[row])
                module.row = row
                with torch.enable_grad():
                    adversarial = attack(samples[begin : begin + length][None], label).detach()
                yield module.spectrogram(_recording(adversarial[0], row))

        return outputs_of(self.model, inputs(), self.on_batch)

    def _posteriors_of(self, parts: Parts) -> Tensor:
        """Return the posteriors for other recordings of the test set's utterances."""
        spectrogram = partial(self._spectrogram, *self._standardisation(parts))
        inputs = (spectrogram(recording) for recordings in parts() for recording in recordings.each())
        return outputs_of(self.model, inputs, self.on_batch)

    def _spectrogram(
        self, normalisation: Normalisation, standardise: Callable[[Segments], Tensor], recording: Recordings
    ) -> Tensor:
        """Return the spectrogram of one recording as the model takes it, float32 [1, frames, bins]."""
        blocks = [*segments_of(recording, self._blocks, normalisation)]
        frames = sum(int(block.frames.sum()) for block in blocks)
        return torch.cat([standardise(block) for block in blocks]).flatten(0, 1)[None, :frames]

    @cached_property
    def _blocks(self) -> FeatureExtractor:
        """Feature extractor of blocks of frames."""
        settings = in_blocks(self.settings.spectrogram, _FRAMES_PER_BLOCK)
        return FeatureExtractor.create(settings, self.settings.audio.sample_rate, self.test.segments.device)

    def _frames(self) -> Iterator[Tensor]:
        """Yield the normalised spectrogram of each clean utterance, float32 [frames, bins]."""
        return utterance_frames(self.test.dataset.bank, self.test.utterances, self.normalisation)

    @cached_property
    def _labels(self) -> tuple[Tensor, ...]:
        """Label of each utterance, int64 [1]."""
        labels: tuple[Tensor, ...] = self.test.dataset.labels[list(self.test.utterances)].split(1)
        return labels


class _FromWaveform(nn.Module):
    """A model of spectrograms as a model of one waveform, [1, samples] -> [1, classes].

    Attributes:
        row: Position of the utterance in the test set.
    """

    row: int

    def __init__(self, model: nn.Module, spectrogram: Callable[[Recordings], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.spectrogram = spectrogram

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the logits of a waveform."""
        logits: Tensor = self.model(self.spectrogram(_recording(waveform[0], self.row)))
        return logits


def _recording(waveform: Tensor, row: int) -> Recordings:
    """Return a waveform [samples] as a recording."""
    start = torch.zeros(1, dtype=torch.int64, device=waveform.device)
    return Recordings(waveform, start, np.array([len(waveform)]), np.array([row]))
