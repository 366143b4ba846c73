"""Trials of models that take segments of spectrograms, as those of the paper do."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastser.attacks import Attack
from fastser.data.corpora import CorpusError
from fastser.data.dataset import Subset, sample_places
from fastser.data.features import FeatureExtractor
from fastser.data.normalisation import IDENTITY, Normalisation
from fastser.data.standardisation import Moments, groups_of
from fastser.evaluation.inference import BATCH_SIZE, outputs_of, row_means, utterance_means
from fastser.evaluation.recordings import (
    AddedNoise,
    Parts,
    Recordings,
    RowStandardisation,
    Segments,
    moments_of,
    segments_of,
)
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

    @cached_property
    def input_range(self) -> tuple[float, float]:
        """Smallest and largest value of the normalised segments, which is 0 where they are padded."""
        batches = self.test.segments.split(BATCH_SIZE)
        ends = [self.test.dataset.bank.gather(part, self.normalisation).aminmax() for part in batches]
        return min(float(end.min) for end in ends), max(float(end.max) for end in ends)

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
        module = _FromWaveform(self.model, self._extract, self._clean_standardisation)
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
                module.frames, module.rows = frames[part], row[part]
                with torch.enable_grad():
                    adversarial = attack(excerpts, self.test.labels[part]).detach()
                yield module.segments(adversarial * inside)

        return self._means(batches(), row)

    def noisy(self, scene: str, snr_db: float) -> Tensor:
        """Return the posteriors with one noise scene added to every utterance.

        The noise is added to the waveform while its spectrogram is computed.
        """
        device, index = self.test.segments.device, self.noise_draw.scenes.index(scene)
        noise = AddedNoise(
            self._noise_samples,
            torch.from_numpy(self.noise_draw.start[index]).to(device),
            torch.from_numpy(self.noise_draw.gain(snr_db)[index]).to(device),
        )
        noisy = Recordings(
            self.test.dataset.samples, self._offsets, self._lengths, np.arange(len(self._lengths)), noise
        )
        return self._posteriors_of(lambda: [noisy])

    def changed_by_position(self, change: PositionChange) -> Tensor:
        """Return the posteriors for changed waveforms, a few utterances at a time."""
        settings, device = self.settings.spectrogram, self.test.segments.device

        def parts() -> Iterator[Recordings]:
            for begin in range(0, len(self.test.utterances), _UTTERANCES_PER_CHUNK):
                chunk = np.arange(begin, min(begin + _UTTERANCES_PER_CHUNK, len(self.test.utterances)))
                waveforms = [self.changed_waveform(int(position), change) for position in chunk]
                waveforms = [np.pad(w, (0, max(0, settings.win_length - len(w)))) for w in waveforms]
                lengths = np.array([len(waveform) for waveform in waveforms])
                packed = torch.from_numpy(np.concatenate(waveforms)).to(device)
                start = torch.from_numpy(np.cumsum(lengths) - lengths).to(device)
                yield Recordings(packed, start, lengths, chunk)

        return self._posteriors_of(parts)

    def _posteriors_of(self, parts: Parts) -> Tensor:
        """Return the posteriors for other recordings of the test set's utterances."""
        rows: list[Tensor] = []
        normalisation, standardise = self._standardisation(parts)

        def batches() -> Iterator[Tensor]:
            for recordings in parts():
                for segments in segments_of(recordings, self._extract, normalisation):
                    rows.append(segments.rows)
                    yield standardise(segments)

        by_segment = outputs_of(self.model, batches(), self.on_batch)
        return row_means(by_segment, torch.cat(rows))

    def _standardisation(self, parts: Parts) -> tuple[Normalisation, Callable[[Segments], Tensor]]:
        """Return the normalisation during the computation of segments, and what makes them the model's input."""
        if self._groups is None:
            return self.normalisation, lambda segments: segments.values
        self._require_whole_speakers()
        moments = moments_of(parts(), self._extract, self._groups)
        return IDENTITY, RowStandardisation.of(moments, self.normalisation, self.test.segments.device)

    def _require_whole_speakers(self) -> None:
        """Check that moments by speaker, which clean speech takes from the corpus, can be had from the test set.

        Raises:
            CorpusError: If only some utterances of a speaker are tested.
        """
        corpus, tested = self.test.dataset.corpus, set(self.test.utterances)
        speakers = {corpus.utterances[i].speaker for i in tested}
        number = sum(utterance.speaker in speakers for utterance in corpus.utterances)
        if self.settings.spectrogram.normalisation == "speaker" and number > len(tested):
            raise CorpusError(
                f"{corpus.title}: spectrogram.normalisation=speaker needs all utterances of a tested speaker in the "
                f"test set, and {number - len(tested)} of {number} are not; test whole speakers, or use utterance"
            )

    @cached_property
    def _groups(self) -> NDArray[np.int64] | None:
        """Group of each utterance by whose moments it is standardised, or None."""
        corpus = self.test.dataset.corpus
        speakers = [corpus.utterances[i].speaker for i in self.test.utterances]
        return groups_of(speakers, self.settings.spectrogram)

    def _means(self, batches: Iterable[Tensor], rows: Tensor) -> Tensor:
        return utterance_means(self.model, batches, rows, self.on_batch)

    @cached_property
    def _clean_standardisation(self) -> RowStandardisation:
        """Standardisation of the clean utterances. An attack on a waveform does not move its moments."""
        moments, number = self.test.dataset.bank.moments, len(self.test.utterances)
        if moments is None:
            own = Moments(torch.zeros(number, device="cpu"), torch.ones(number, device="cpu"))
        else:
            own = Moments(moments.mean[list(self.test.utterances)], moments.std[list(self.test.utterances)])
        return RowStandardisation.of(own, self.normalisation, self.test.segments.device)

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

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        lengths: NDArray[np.int64] = np.diff(self.test.dataset.waveforms.offsets)[list(self.test.utterances)]
        return lengths


class _FromWaveform(nn.Module):
    """A model of segments as a model of their waveforms, [batch, samples] -> [batch, classes].

    Attributes:
        frames: Number of frames of each segment before padding, int64 [batch].
        rows: Position of its utterance in the test set, int64 [batch].
    """

    frames: Tensor
    rows: Tensor

    def __init__(self, model: nn.Module, extract: FeatureExtractor, standardise: RowStandardisation) -> None:
        super().__init__()
        self.model = model
        self._extract = extract
        self._standardise = standardise

    def segments(self, waveforms: Tensor) -> Tensor:
        """Return the normalised segments of waveforms, [batch, frames, bins]."""
        number, samples = waveforms.shape
        start = torch.arange(number, device=waveforms.device) * samples
        values = self._extract(waveforms.reshape(-1), start, self.frames)
        return self._standardise(Segments(values, self.frames, self.rows))

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the logits of waveforms."""
        logits: Tensor = self.model(self.segments(waveforms))
        return logits
