"""Attacks on one utterance: the change of its log-spectrogram in decibels."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from fastser.attacks import NamedAttack
from fastser.data.normalisation import Normalisation
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.experiment.experiment import Experiment
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import Run


@dataclass(frozen=True)
class AttackedUtterance:
    """A model with its kept weights, its test set, and one utterance of it.

    Attributes:
        trial: The model and its test set.
        position: Position of the utterance in the test set.
    """

    trial: SegmentTrial
    position: int

    @classmethod
    def of(cls, experiment: Experiment, run: Run, store: ResultStore, utterance: str) -> "AttackedUtterance":
        """Load the kept weights of a run.

        Args:
            experiment: Data and settings.
            run: The run.
            store: Results folder that keeps its weights.
            utterance: Id of an utterance of the run's test set.
        """
        test = experiment.subsets(run.id.point)[2]
        device = test.segments.device
        model: nn.Module = experiment.model(run.id.point.model, device=device)
        model.load_state_dict(load_file(store.weights(run.id.key)))
        normalisation = Normalisation(**run.metadata["normalisation"])
        trial = SegmentTrial(model.to(device).eval(), test, experiment.settings, normalisation)
        return cls(trial, test.utterance_ids.index(utterance))

    def gains_db(self, attack: NamedAttack) -> NDArray[np.float32]:
        """Return adversarial minus clean log-spectrogram, float32 [frames, bins].

        Where segments overlap, it is the mean of their changes.
        """
        trial, bank = self.trial, self.trial.test.dataset.bank
        chosen = trial.test.rows == self.position
        segments, labels = trial.test.segments[chosen], trial.test.labels[chosen]
        clean = bank.gather(segments, trial.normalisation)
        build = attack.build(trial.model, trial.settings.attack, trial.attack_bounds)
        with torch.enable_grad():
            changes = (build(clean, labels).detach() - clean).cpu().numpy() * self._decibels()
        start, length = (part[segments].cpu().numpy() for part in (bank.start, bank.length))
        first, last = int(start.min()), int((start + length).max())
        total = np.zeros((last - first, changes.shape[2]), np.float32)
        number = np.zeros((last - first, 1), np.float32)
        for change, begin, frames in zip(changes, start - first, length, strict=True):
            total[begin : begin + frames] += change[:frames]
            number[begin : begin + frames] += 1
        return (total / np.maximum(number, 1)).astype(np.float32)

    def _decibels(self) -> float:
        """Return the decibels of a unit of the model's input."""
        moments, utterance = self.trial.test.dataset.bank.moments, self.trial.test.utterances[self.position]
        return self.trial.normalisation.std * (1.0 if moments is None else float(moments.std[utterance]))
