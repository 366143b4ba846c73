"""Trials: a trained model and its test set, ready to be tested under any condition."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fastser.data.dataset import Subset, sample_places
from fastser.data.features import FeatureExtractor
from fastser.data.noise import NoiseBank, NoiseDraw, draw_noise
from fastser.data.normalisation import Normalisation
from fastser.evaluation.inference import BATCH_SIZE, utterance_means
from fastser.runtime.nvtx_ranges import stage
from fastser.runtime.precision import in_precision
from fastser.settings import Settings

if TYPE_CHECKING:
    from fastser.evaluation.conditions import Condition


@dataclass(frozen=True, eq=False)
class Trial:
    """A trained model, its test set, and everything that conditions need.

    Attributes:
        model: The trained model, `[batch, frames, bins] -> [batch, classes]`. It computes in the precision that the
            settings name for the evaluation.
        test: Test set.
        settings: Noise, attack, spectrogram and evaluation settings are used.
        normalisation: Normalisation that belongs to the model.
        noise: Noise recordings, or None.
        noise_seed: Seed of the noise draw.
        on_condition: Called with the name of each condition before it is computed.
        on_batch: Called after each batch. An exception that it raises ends the test.
    """

    model: nn.Module
    test: Subset
    settings: Settings
    normalisation: Normalisation
    noise: NoiseBank | None = None
    noise_seed: int = 0
    on_condition: Callable[[str], None] = lambda _: None
    on_batch: Callable[[], None] = lambda: None
    _posteriors: "dict[Condition, Tensor]" = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", in_precision(self.model, self.settings.evaluation.precision))

    def posteriors(self, condition: "Condition") -> Tensor:
        """Return the posteriors under a condition, [utterances, classes]. Each condition is computed once."""
        if condition not in self._posteriors:
            if condition.is_computed:
                self.on_condition(condition.name)
            with stage(f"test {condition.name}"):
                self._posteriors[condition] = condition.posteriors(self)
        return self._posteriors[condition]

    def perturbed(self, perturb: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Return the posteriors for perturbed segments, [utterances, classes].

        Args:
            perturb: Maps normalised segments [batch, frames, bins] and their true labels [batch] to the segments that
                the model is tested on.
        """
        bank, test = self.test.dataset.bank, self.test
        batches = (
            perturb(bank.gather(part, self.normalisation), labels)
            for part, labels in zip(test.segments.split(BATCH_SIZE), test.labels.split(BATCH_SIZE), strict=True)
        )
        return utterance_means(self.model, batches, test.rows, self.on_batch)

    def noisy(self, scene: str, snr_db: float) -> Tensor:
        """Return the posteriors with one noise scene added to every utterance, [utterances, classes].

        The noise is added to the waveform while its spectrogram is computed.
        """
        return utterance_means(self.model, self._noisy.batches(scene, snr_db), self._noisy.rows, self.on_batch)

    @property
    def drawn_scenes(self) -> Tensor:
        """Index of the noise scene that each utterance has drawn, int64 [utterances]."""
        return torch.from_numpy(self._noisy.draw.drawn).to(self._noisy.rows.device)

    @cached_property
    def _noisy(self) -> "_NoisySegments":
        if self.noise is None:
            raise ValueError("a noise condition needs noise recordings; give Trial(noise=...)")
        return _NoisySegments.create(self.test, self.settings, self.normalisation, self.noise, self.noise_seed)


@dataclass(frozen=True)
class _NoisySegments:
    """The segments of a test set with noise mixed in.

    Attributes:
        rows: Position of each segment's utterance in the test set, int64 [segments].
        draw: Excerpt of noise for each scene and utterance.
    """

    test: Subset
    normalisation: Normalisation
    extract: FeatureExtractor
    noise_samples: Tensor
    draw: NoiseDraw
    first: Tensor
    frames: Tensor
    row: Tensor
    speech_start: Tensor

    @property
    def rows(self) -> Tensor:
        return self.row.to(self.frames.device)

    @classmethod
    def create(
        cls, test: Subset, settings: Settings, normalisation: Normalisation, noise: NoiseBank, seed: int
    ) -> "_NoisySegments":
        """Draw the noise of every utterance and scene."""
        dataset = test.dataset
        device = dataset.bank.frames.device
        utterances = [(i, dataset.corpus.utterances[i].id) for i in test.utterances]
        first, frames, row = sample_places(test, settings)
        offsets = torch.from_numpy(dataset.waveforms.offsets[list(test.utterances)])
        return cls(
            test,
            normalisation,
            FeatureExtractor.create(settings.spectrogram, settings.audio.sample_rate, device),
            torch.from_numpy(noise.waveforms.samples).to(device),
            draw_noise(noise, settings.noise.scenes, dataset.waveforms, utterances, seed),
            first,
            frames.to(device),
            row,
            (offsets[row] + first).to(device),
        )

    def batches(self, scene: str, snr_db: float) -> Iterator[Tensor]:
        """Yield normalised segments [batch, frames, bins] with one scene at one SNR."""
        device, index = self.frames.device, self.draw.scenes.index(scene)
        noise_start = (torch.from_numpy(self.draw.start[index])[self.row] + self.first).to(device)
        gain = torch.from_numpy(self.draw.gain(snr_db))[index][self.row].to(device)
        for part in torch.arange(len(self.row), device=device).split(BATCH_SIZE):
            yield self.extract(
                self.test.dataset.samples,
                self.speech_start[part],
                self.frames[part],
                normalisation=self.normalisation,
                noise=self.noise_samples,
                noise_start=noise_start[part],
                noise_gain=gain[part],
            )
