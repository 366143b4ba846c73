"""Trials: a model and its test set, ready to be tested under any condition."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastser.attacks import Attack
from fastser.data.dataset import Subset
from fastser.data.noise import NoiseBank, NoiseDraw, draw_noise
from fastser.evaluation.changes.change import Change
from fastser.runtime.files import storable
from fastser.runtime.nvtx_ranges import stage
from fastser.settings import Settings

if TYPE_CHECKING:
    from fastser.evaluation.condition import Condition

PositionChange = Callable[[int, NDArray[np.float32], np.random.Generator], NDArray[np.float32]]
"""Maps the position of an utterance in the test set, its samples and a generator to changed samples."""

Perturb = Callable[[Tensor, Tensor], Tensor]
"""Maps a batch of the model's inputs and their true labels to the inputs that the model is tested on."""


class Trial(ABC):
    """A model, its test set, and everything that conditions need.

    Conditions call its methods. Each returns posteriors, float [utterances, classes], in the order of the test set.

    Attributes:
        test: Test set.
        settings: Noise, attack, spectrogram and evaluation settings are used.
        noise: Noise recordings, or None.
        noise_seed: Seed of the noise draw and of other random changes.
        on_condition: Called with the name of each condition before it is computed.
        on_batch: Called after each batch. An exception that it raises ends the test.
        differentiable: Whether attacks can take the gradient of the model.
    """

    differentiable = True

    def __init__(
        self,
        test: Subset,
        settings: Settings,
        noise: NoiseBank | None = None,
        noise_seed: int = 0,
        on_condition: Callable[[str], None] = lambda _: None,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self.test = test
        self.settings = settings
        self.noise = noise
        self.noise_seed = noise_seed
        self.on_condition = on_condition
        self.on_batch = on_batch
        self._posteriors: dict[Condition, Tensor] = {}

    def posteriors(self, condition: "Condition") -> Tensor:
        """Return the posteriors under a condition. Each condition is computed once."""
        if condition not in self._posteriors:
            if condition.is_computed:
                self.on_condition(condition.name)
            with stage(f"test {condition.name}"):
                self._posteriors[condition] = condition.posteriors(self)
        return self._posteriors[condition]

    @property
    @abstractmethod
    def input_range(self) -> tuple[float, float]:
        """Smallest and largest value of the model's inputs on the clean test set, in the units of `attacked`."""

    @property
    def attack_bounds(self) -> tuple[float, float] | None:
        """The range of the inputs if eps is in units of it, else None."""
        return self.input_range if self.settings.attack.eps_unit == "range" else None

    @abstractmethod
    def perturbed(self, perturb: Perturb) -> Tensor:
        """Return the posteriors for perturbed inputs of the model."""

    @abstractmethod
    def attacked(self, build: Callable[[nn.Module], Attack]) -> Tensor:
        """Return the posteriors for adversarial inputs.

        Args:
            build: Builds the attack on a module that maps inputs of standard deviation one to logits.
        """

    @abstractmethod
    def attacked_waveform(self, build: Callable[[nn.Module], Attack]) -> Tensor:
        """Return the posteriors for adversarial waveforms.

        Args:
            build: Builds the attack on a module that maps waveforms [batch, samples] to logits.
        """

    @abstractmethod
    def noisy(self, scene: str, snr_db: float) -> Tensor:
        """Return the posteriors with one noise scene added to every utterance's waveform."""

    def changed(self, change: Change) -> Tensor:
        """Return the posteriors for changed waveforms."""
        rate = self.settings.audio.sample_rate
        return self.changed_by_position(lambda _, samples, generator: change(samples, rate, generator))

    @abstractmethod
    def changed_by_position(self, change: PositionChange) -> Tensor:
        """Return the posteriors for waveforms whose change depends on the utterance."""

    @property
    def drawn_scenes(self) -> Tensor:
        """Index of the noise scene that each utterance has drawn, int64 [utterances]."""
        return torch.from_numpy(self.noise_draw.drawn).to(self.test.segments.device)

    @cached_property
    def noise_draw(self) -> NoiseDraw:
        """Excerpt of noise for each scene and utterance.

        Raises:
            ValueError: If there are no noise recordings.
        """
        if self.noise is None:
            raise ValueError("a noise condition needs noise recordings; give the trial noise=...")
        dataset = self.test.dataset
        utterances = [(i, dataset.corpus.utterances[i].id) for i in self.test.utterances]
        return draw_noise(self.noise, self.settings.noise.scenes, dataset.waveforms, utterances, self.noise_seed)

    def changed_waveform(self, position: int, change: PositionChange) -> NDArray[np.float32]:
        """Return a changed utterance, float32 [samples].

        The generator follows from `noise_seed` and the utterance's id, so that no result depends on the order.

        Args:
            position: Position of the utterance in the test set.
            change: The change.
        """
        dataset, index = self.test.dataset, self.test.utterances[position]
        text = f"{self.noise_seed} change {storable(dataset.corpus.utterances[index].id)}"
        generator = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:16], 16))
        samples = change(position, dataset.waveforms[index], generator)
        return np.ascontiguousarray(samples, np.float32)
