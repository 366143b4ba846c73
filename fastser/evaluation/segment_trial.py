"""Trials of models that take segments of spectrograms, as those of the paper do."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastser.attacks import Attack
from fastser.data.dataset import Subset, sample_places
from fastser.data.features import FeatureExtractor, num_frames, segment_table
from fastser.data.normalisation import Normalisation
from fastser.evaluation.inference import BATCH_SIZE, outputs_of, row_means, utterance_means
from fastser.evaluation.trial import Perturb, PositionChange, Trial
from fastser.runtime.precision import in_precision
from fastser.settings import Settings

_UTTERANCES_PER_CHUNK = 32


class SegmentTrial(Trial):
    """A trained model of segments, and its test set.

    Args:
        model: The trained model, `[batch, frames, bins] -> [batch, classes]`. It computes in the precision that the
            settings name for the evaluation.
        test: Test set.
        settings: As in `Trial`.
        normalisation: Normalisation that belongs to the model.
        **others: Further arguments of `Trial`.
    """

    def __init__(
        self, model: nn.Module, test: Subset, settings: Settings, normalisation: Normalisation, **others: Any
    ) -> None:
        super().__init__(test, settings, **others)
        self.model = in_precision(model, settings.evaluation.precision)
        self.normalisation = normalisation

    def perturbed(self, perturb: Perturb) -> Tensor:
        """Return the posteriors for perturbed segments.

        Args:
            perturb: Maps normalised segments [batch, frames, bins] and their true labels [batch] to the segments that
                the model is tested on.
        """
        bank, test = self.test.dataset.bank, self.test
        batches = (
            perturb(bank.gather(part, self.normalisation), labels)
            for part, labels in zip(test.segments.split(BATCH_SIZE), test.labels.split(BATCH_SIZE), strict=True)
        )
        return self._means(batches, test.rows)

    def attacked(self, build: Callable[[nn.Module], Attack]) -> Tensor:
        """Return the posteriors for adversarial segments, which are normalised as in training."""
        attack = build(self.model)

        def perturb(segments: Tensor, labels: Tensor) -> Tensor:
            with torch.enable_grad():
                return attack(segments, labels).detach()

        return self.perturbed(perturb)

    def attacked_waveform(self, build: Callable[[nn.Module], Attack]) -> Tensor:
        """Return the posteriors for adversarial excerpts of the waveforms, one per segment.

        Segments that overlap are attacked independently of each other.
        """
        settings = self.settings.spectrogram
        module = _FromWaveform(self.model, self._extract, self.normalisation)
        attack, samples = build(module), self.test.dataset.samples
        length = (settings.segment_frames - 1) * settings.hop_length + settings.win_length
        first, frames, row = (part.to(samples.device) for part in sample_places(self.test, self.settings))
        begin = self._offsets[row] + first

        def batches() -> Iterator[Tensor]:
            for part in torch.arange(len(row), device=samples.device).split(BATCH_SIZE):
                used = (frames[part] - 1) * settings.hop_length + settings.win_length
                place = torch.arange(length, device=samples.device)
                inside = place < used[:, None]
                excerpts = samples[(begin[part][:, None] + place).clamp(max=len(samples) - 1)] * inside
                module.frames = frames[part]
                with torch.enable_grad():
                    adversarial = attack(excerpts, self.test.labels[part]).detach()
                yield module.segments(adversarial * inside)

        return self._means(batches(), row)

    def noisy(self, scene: str, snr_db: float) -> Tensor:
        """Return the posteriors with one noise scene added to every utterance.

        The noise is added to the waveform while its spectrogram is computed.
        """
        first, frames, row = sample_places(self.test, self.settings)
        device, index = self.test.segments.device, self.noise_draw.scenes.index(scene)
        noise_start = (torch.from_numpy(self.noise_draw.start[index])[row] + first).to(device)
        gain = torch.from_numpy(self.noise_draw.gain(snr_db))[index][row].to(device)
        speech_start, frames, row = self._offsets[row.to(device)] + first.to(device), frames.to(device), row.to(device)
        batches = (
            self._extract(
                self.test.dataset.samples,
                speech_start[part],
                frames[part],
                normalisation=self.normalisation,
                noise=self._noise_samples,
                noise_start=noise_start[part],
                noise_gain=gain[part],
            )
            for part in torch.arange(len(row), device=device).split(BATCH_SIZE)
        )
        return self._means(batches, row)

    def changed_by_position(self, change: PositionChange) -> Tensor:
        """Return the posteriors for changed waveforms, a few utterances at a time."""
        settings, device = self.settings.spectrogram, self.test.segments.device
        rows: list[Tensor] = []

        def batches() -> Iterator[Tensor]:
            for begin in range(0, len(self.test.utterances), _UTTERANCES_PER_CHUNK):
                chunk = range(begin, min(begin + _UTTERANCES_PER_CHUNK, len(self.test.utterances)))
                waveforms = [self.changed_waveform(position, change) for position in chunk]
                waveforms = [np.pad(w, (0, max(0, settings.win_length - len(w)))) for w in waveforms]
                lengths = np.array([len(waveform) for waveform in waveforms])
                row, first, frames = segment_table(num_frames(lengths, settings), settings)
                rows.append(torch.from_numpy(row + begin))
                start = (np.cumsum(lengths) - lengths)[row] + first * settings.hop_length
                packed = torch.from_numpy(np.concatenate(waveforms)).to(device)
                places = torch.from_numpy(start).to(device), torch.from_numpy(frames).to(device)
                for start_part, frames_part in zip(*(place.split(BATCH_SIZE) for place in places), strict=True):
                    yield self._extract(packed, start_part, frames_part, normalisation=self.normalisation)

        by_segment = outputs_of(self.model, batches(), self.on_batch)
        return row_means(by_segment, torch.cat(rows).to(device))

    def _means(self, batches: Iterable[Tensor], rows: Tensor) -> Tensor:
        return utterance_means(self.model, batches, rows, self.on_batch)

    @cached_property
    def _extract(self) -> FeatureExtractor:
        device = self.test.segments.device
        return FeatureExtractor.create(self.settings.spectrogram, self.settings.audio.sample_rate, device)

    @cached_property
    def _noise_samples(self) -> Tensor:
        assert self.noise is not None
        return torch.from_numpy(self.noise.waveforms.samples).to(self.test.segments.device)

    @cached_property
    def _offsets(self) -> Tensor:
        offsets = self.test.dataset.waveforms.offsets[list(self.test.utterances)]
        return torch.from_numpy(offsets).to(self.test.segments.device)


class _FromWaveform(nn.Module):
    """A model of segments as a model of their waveforms, [batch, samples] -> [batch, classes].

    Attributes:
        frames: Number of frames of each segment before padding, int64 [batch].
    """

    frames: Tensor

    def __init__(self, model: nn.Module, extract: FeatureExtractor, normalisation: Normalisation) -> None:
        super().__init__()
        self.model = model
        self._extract = extract
        self._normalisation = normalisation

    def segments(self, waveforms: Tensor) -> Tensor:
        """Return the normalised segments of waveforms, [batch, frames, bins]."""
        number, samples = waveforms.shape
        start = torch.arange(number, device=waveforms.device) * samples
        return self._extract(waveforms.reshape(-1), start, self.frames, normalisation=self._normalisation)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the logits of waveforms."""
        logits: Tensor = self.model(self.segments(waveforms))
        return logits
