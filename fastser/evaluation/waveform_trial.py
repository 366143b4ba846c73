"""Trials of models that take waveforms."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastser.attacks import Attack
from fastser.data.dataset import Subset
from fastser.evaluation.adapter import WaveformModel
from fastser.evaluation.inference import outputs_of
from fastser.evaluation.trial import Perturb, PositionChange, Trial
from fastser.settings import Settings

_SILENCE = 1e-8


class WaveformTrial(Trial):
    """A model of whole utterances, and its test set.

    Utterances of similar length share a batch, padded with zeros on the right.

    Args:
        model: The model (`fastser.evaluation.adapter`).
        test: Test set. Its waveforms are used, not its segments.
        settings: As in `Trial`.
        batch_size: Utterances in one batch.
        **others: Further arguments of `Trial`.
    """

    def __init__(self, model: WaveformModel, test: Subset, settings: Settings, batch_size: int, **others: Any) -> None:
        super().__init__(test, settings, **others)
        self.model = model
        self.batch_size = batch_size
        self.differentiable = model.differentiable

    @cached_property
    def input_range(self) -> tuple[float, float]:
        """Largest sample of the test set at a root mean square of one, below and above zero."""
        waveforms = [self._utterance(position) for position in range(len(self.test.utterances))]
        peak = max(float(np.abs(w).max() / max(float(np.sqrt(np.mean(w**2))), _SILENCE)) for w in waveforms)
        return -peak, peak

    def perturbed(self, perturb: Perturb) -> Tensor:
        """Return the posteriors for perturbed batches of waveforms, [batch, samples] padded with zeros."""
        return self._posteriors_of(self._utterance, lambda waveforms, labels, _: perturb(waveforms, labels))

    def attacked(self, build: Callable[[nn.Module], Attack]) -> Tensor:
        """Return the posteriors for adversarial waveforms. The attack sees them at a root mean square of one.

        So its `eps` is in units of the waveform's own level, as that of a spectrogram model is in standard deviations.
        """

        def perturb(waveforms: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
            inside = torch.arange(waveforms.shape[1], device=waveforms.device) < lengths[:, None]
            level = (waveforms.square().sum(1, keepdim=True) / lengths[:, None]).sqrt().clamp(min=_SILENCE)
            module = _AtLevel(self.model, level * inside)
            with torch.enable_grad():
                adversarial = build(module)(waveforms / level, labels).detach()
            return adversarial * level * inside

        return self._posteriors_of(self._utterance, perturb)

    def attacked_waveform(self, build: Callable[[nn.Module], Attack]) -> Tensor:
        """Return the posteriors for adversarial waveforms, at their own level."""

        def perturb(waveforms: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
            inside = torch.arange(waveforms.shape[1], device=waveforms.device) < lengths[:, None]
            with torch.enable_grad():
                return build(_AtLevel(self.model, inside))(waveforms, labels).detach() * inside

        return self._posteriors_of(self._utterance, perturb)

    def noisy(self, scene: str, snr_db: float) -> Tensor:
        """Return the posteriors with one noise scene added to every utterance."""
        draw, noise = self.noise_draw, self.noise
        assert noise is not None
        index = draw.scenes.index(scene)
        gain = draw.gain(snr_db)[index]

        def mixed(position: int) -> NDArray[np.float32]:
            speech, start = self._utterance(position), draw.start[index, position]
            excerpt = noise.waveforms.samples[start : start + len(speech)]
            mixture: NDArray[np.float32] = speech + gain[position] * excerpt
            return mixture

        return self._posteriors_of(mixed)

    def changed_by_position(self, change: PositionChange) -> Tensor:
        """Return the posteriors for changed waveforms."""
        return self._posteriors_of(lambda position: self.changed_waveform(position, change))

    def _utterance(self, position: int) -> NDArray[np.float32]:
        return self.test.dataset.waveforms[self.test.utterances[position]]

    def _posteriors_of(
        self,
        waveform: Callable[[int], NDArray[np.float32]],
        perturb: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda waveforms, _labels, _lengths: waveforms,
    ) -> Tensor:
        """Return the posteriors for the waveform of each position in the test set."""
        offsets = self.test.dataset.waveforms.offsets
        lengths = np.diff(offsets)[list(self.test.utterances)]
        order = np.argsort(lengths, kind="stable")

        def batches() -> Iterator[Tensor]:
            for begin in range(0, len(order), self.batch_size):
                positions = order[begin : begin + self.batch_size]
                waveforms, numbers = self._padded([waveform(int(position)) for position in positions])
                labels = self.test.dataset.labels[[self.test.utterances[position] for position in positions]]
                self.model.lengths = numbers
                yield perturb(waveforms, labels, numbers)

        outputs = outputs_of(self.model, batches(), self.on_batch)
        by_position = torch.empty_like(outputs)
        by_position[torch.from_numpy(order).to(outputs.device)] = outputs
        return by_position

    def _padded(self, waveforms: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
        """Return waveforms as one batch [batch, samples] with zeros on the right, and their lengths [batch]."""
        lengths = [len(waveform) for waveform in waveforms]
        batch = np.zeros((len(waveforms), max(lengths)), np.float32)
        for row, waveform in zip(batch, waveforms, strict=True):
            row[: len(waveform)] = waveform
        device = self.test.segments.device
        return torch.from_numpy(batch).to(device), torch.tensor(lengths, device=device)


class _AtLevel(nn.Module):
    """A model of waveforms that are scaled first, such as back to their own level. Padding stays zero."""

    def __init__(self, model: nn.Module, level: Tensor) -> None:
        super().__init__()
        self.model = model
        self.level = level

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the logits of scaled waveforms."""
        logits: Tensor = self.model(waveforms * self.level)
        return logits
