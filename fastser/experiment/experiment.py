"""The prepared data of one run of the protocol, and what it takes to turn one cell of the grid into results."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from fastser_kernels.registration import uses_reference
from torch import nn

from fastser.data.corpora.base import PAPER_CLASSES, CorpusError
from fastser.data.dataset import Dataset, Subset
from fastser.data.noise import NoiseBank
from fastser.evaluation.evaluate import evaluate
from fastser.evaluation.inference import posteriors
from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.grid import Fold, GridPoint, conditions, cross_corpus_split, folds, spread
from fastser.experiment.store import RunId
from fastser.models import build_model
from fastser.runtime.digests import digest
from fastser.runtime.provenance import environment
from fastser.settings import Settings
from fastser.training.checkpoint import Checkpoint
from fastser.training.loop import Epoch, train

RESULT_FORMAT = 2
"""Raised whenever the same settings and data would no longer give the same numbers."""


@dataclass(frozen=True)
class Experiment:
    """Data, settings and seed of one run of the protocol.

    Attributes:
        settings: All settings.
        seed: Seed from which every other seed is derived.
        source: The corpus of the source task, trained on in the cross-corpus task; None if there is none.
        target: The second corpus, tested on in the cross-corpus task; None if there is none.
        noise: Noise for the source task; None leaves the noisy conditions out.
        device: Where models are trained and the data lie.
    """

    settings: Settings
    seed: int
    source: Dataset | None
    target: Dataset | None
    noise: NoiseBank | None
    device: torch.device

    @cached_property
    def folds(self) -> Mapping[str, Mapping[str, Fold]]:
        """Folds by task and name, as many as the settings ask for; those of "cross" are drawn for each repeat."""
        tasks: dict[str, Mapping[str, Fold]] = {}
        for task, dataset in (("source", self.source), ("target", self.target)):
            if dataset is not None:
                tasks[task] = {f.name: f for f in spread(folds(dataset.corpus), self.settings.protocol.folds)}
        if self.source is not None and self.target is not None:
            everything = tuple(range(len(self.source.corpus.utterances)))
            tasks["cross"] = {"all": Fold("all", everything, (), ())}
        return tasks

    def check(self) -> list[str]:
        """Find out before anything is trained whether every fold and every noisy test set can be made.

        Returns:
            A sentence for every fold whose test speaker lacks a class.

        Raises:
            CorpusError: If a fold lacks what it needs.
            NoiseError: If a scene has no recording as long as the longest utterance.
        """
        tasks = self.folds
        if "cross" in tasks:
            share = self.settings.protocol.cross_corpus_validation
            cross_corpus_split(self._dataset("target").corpus, share, self.seed)
        if self.noise is not None and self.source is not None:
            longest = int(np.diff(self.source.waveforms.offsets).max())
            for scene in self.settings.noise.scenes:
                self.noise.draw(scene, longest, np.random.default_rng(self.seed))
        return [
            f"{dataset.corpus.title}: test speaker {fold.name} has no '{emotion}' utterance; "
            "the UAR of this fold is the mean recall of the other classes"
            for task, dataset in (("source", self.source), ("target", self.target))
            if dataset is not None
            for fold in tasks[task].values()
            for emotion in PAPER_CLASSES
            if emotion not in {dataset.corpus.utterances[i].emotion for i in fold.test}
        ]

    def identify(self, cell: GridPoint) -> RunId:
        """Give a cell its key: a digest of the settings, the data and the seed on which its results depend."""
        settings = self.settings
        depends: list[Any] = [settings.audio, settings.spectrogram, settings.model, settings.training]
        depends += [settings.augmentation, self.seed, asdict(cell), RESULT_FORMAT]
        titles = []
        for role in ("source", "target"):
            dataset: Dataset | None = getattr(self, role)
            if cell.task in (role, "cross") and dataset is not None:
                depends.append(dataset.key)
                titles.append(dataset.corpus.title)
        if cell.task == "source":
            depends.append(settings.attack)
            if self.noise is not None:
                depends += [settings.noise, self.noise.waveforms.key, self.noise.scenes]
        if cell.task == "cross":
            depends.append(settings.protocol.cross_corpus_validation)
        if uses_reference():
            depends.append("kernels: eager")
        return RunId(**asdict(cell), corpus=" -> ".join(titles), key=digest(*depends))

    def subsets(self, cell: GridPoint) -> tuple[Subset, Subset, Subset]:
        """Training, validation and test set of a cell."""
        fold = self.folds[cell.task][cell.fold]
        trains_on = self._dataset("target" if cell.task == "target" else "source")
        tests_on = self._dataset("source" if cell.task == "source" else "target")
        validation, test = fold.validation, fold.test
        if cell.task == "cross":
            share = self.settings.protocol.cross_corpus_validation
            validation, test = cross_corpus_split(tests_on.corpus, share, self._seed("cross-corpus split", cell.repeat))
        return (
            trains_on.subset(fold.train, all_speeds="speed" in cell.augmentation),
            tests_on.subset(validation),
            tests_on.subset(test),
        )

    def run(
        self,
        cell: GridPoint,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
        on_condition: Callable[[str], None] = lambda _: None,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[dict[str, ConditionResult], dict[str, Any], dict[str, torch.Tensor]]:
        """Train a cell's model and test it under all conditions of its task.

        Args:
            cell: What to train and test.
            on_epoch: Called after every epoch.
            on_condition: Called with the name of each condition before it is tested.
            checkpoint: Where the training goes on from, and is kept and stopped between two batches; while it is
                tested too.

        Returns:
            Results by condition; facts of the training as plain JSON; the trained weights.

        Raises:
            TrainingError: If the loss is not finite.
            TrainingStopped: If the checkpoint was asked to stop it.
        """
        training, validation, test = self.subsets(cell)
        settings = self.settings
        seed = self._seed("training", asdict(cell))
        torch.manual_seed(seed)
        model = self.model(cell.model)
        history = train(model, training, validation, settings, cell.augmentation, seed, on_epoch, checkpoint)
        noise_seed = self._seed("noise", cell.repeat)
        on_batch = (lambda: None) if checkpoint is None else checkpoint.at_boundary
        mean, std = history.mean, history.std
        began = time.perf_counter()
        if cell.task == "source":
            results = evaluate(model, test, settings, mean, std, self.noise, noise_seed, on_condition, on_batch)
        else:
            (name,) = conditions(cell.task, settings)
            on_condition(name)
            results = {name: test.result(posteriors(model, test, mean, std, on_batch))}
        facts = {
            "settings": settings.model_dump(mode="json"),
            "environment": environment(str(self.device)),
            "seeds": {"run": self.seed, "training": seed, "noise": noise_seed},
            "segments": {
                name: len(part.segments)
                for name, part in (("train", training), ("validation", validation), ("test", test))
            },
            "normalisation": {"mean": mean, "std": std},
            "epochs": [asdict(epoch) for epoch in history.epochs],
            "best_epoch": history.best_epoch,
            "training_seconds": history.seconds,
            "test_seconds": time.perf_counter() - began,
        }
        return results, facts, {name: value.cpu() for name, value in model.state_dict().items()}

    def model(self, name: str) -> nn.Module:
        """Build a model of an architecture on the device, its weights drawn from the global random generator."""
        spectrogram = self.settings.spectrogram
        return build_model(
            name,
            settings=self.settings.model,
            segment_frames=spectrogram.segment_frames,
            num_bins=spectrogram.num_bins,
        ).to(self.device)

    def _dataset(self, role: str) -> Dataset:
        dataset: Dataset | None = getattr(self, role)
        if dataset is None:
            raise CorpusError(f"there is no {role} corpus")
        return dataset

    def _seed(self, *purpose: Any) -> int:
        return int(digest(self.seed, *purpose)[:15], 16)
