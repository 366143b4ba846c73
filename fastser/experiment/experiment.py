"""Experiments: the prepared data of one grid, and the way from a point of the grid to results."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from fastser.augmentation import AUGMENTATIONS
from fastser.data.corpora import CorpusError
from fastser.data.dataset import Dataset, Subset
from fastser.data.noise import NoiseBank
from fastser.data.normalisation import Normalisation
from fastser.evaluation.conditions import conditions, evaluate
from fastser.evaluation.inference import validation_score
from fastser.evaluation.metrics import ConditionResult
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.evaluation.utterance_trial import UtteranceTrial
from fastser.experiment.fold_warnings import fold_warnings
from fastser.experiment.folds import Fold, cross_corpus_split, folds, require_classes_in_training, spread
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.kernel_choice import KernelChoice, operations_of
from fastser.experiment.keys import run_key
from fastser.experiment.tasks import TASKS, Role
from fastser.models import build_model
from fastser.runtime.digests import digest
from fastser.runtime.precision import Precision
from fastser.runtime.provenance import environment
from fastser.runtime.random import seeded
from fastser.settings import Settings
from fastser.training.checkpoint import Checkpoint
from fastser.training.loop import History, train
from fastser.training.precision import describe, training_precision, with_chosen_precision
from fastser.training.schedule import Epoch
from fastser.training.yardsticks import YARDSTICKS


@dataclass(frozen=True)
class TrainedModel:
    """A model that a run has trained and tested.

    Attributes:
        results: Predictions by name of the condition.
        metadata: Settings, versions, seeds, times and epochs as plain JSON.
        weights: State dict on the CPU.
        normalisation: Normalisation that belongs to the weights.
    """

    results: Mapping[str, ConditionResult]
    metadata: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]
    normalisation: Normalisation


@dataclass(frozen=True)
class Experiment:
    """Data, settings and seed of one grid.

    Attributes:
        settings: All settings, with a chosen precision instead of `training.precision=auto`.
        seed: Seed from which every other seed is derived.
        source: Corpus of the source task and training corpus of the cross-corpus task, or None.
        target: Corpus of the target task and test corpus of the cross-corpus task, or None.
        noise: Noise recordings for the source task, or None.
        device: Device of models and data.
        kernel_choice: Choice between the kernels and the references.
    """

    settings: Settings
    seed: int
    source: Dataset | None
    target: Dataset | None
    noise: NoiseBank | None
    device: torch.device
    kernel_choice: KernelChoice = field(default_factory=KernelChoice)
    _folds: dict[str, Mapping[str, Fold]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", with_chosen_precision(self.settings, self.device))

    @property
    def precision(self) -> Precision:
        """Precision of the training."""
        return training_precision(self.settings, self.device)

    def kernels(self) -> AbstractContextManager[object]:
        """Return the context in which the experiment computes."""
        return self.kernel_choice.context()

    def environment(self) -> dict[str, str]:
        """Return device, machine, versions, commit and precision, as results record them."""
        with self.kernels():
            here = environment(str(self.device), self.kernel_choice.reasons())
        return here | {"precision": describe(self.settings)}

    def folds(self, task: str) -> Mapping[str, Fold]:
        """Return the folds of a task by name, as many as the settings ask for.

        The cross-corpus task has one fold, "all". Its validation and test utterances are drawn for each repeat.

        Raises:
            CorpusError: If the corpus is missing, or a fold lacks something that it needs.
        """
        if task not in self._folds:
            corpus, protocol = self.dataset(TASKS[task].trains_on).corpus, self.settings.protocol
            if TASKS[task].leaves_one_speaker_out:
                made = spread(folds(corpus, protocol.min_validation_utterances), protocol.folds)
            else:
                made = (Fold("all", tuple(range(len(corpus.utterances))), (), ()),)
                require_classes_in_training(corpus, made)
            self._folds[task] = {fold.name: fold for fold in made}
        return self._folds[task]

    def has_corpora_for(self, task: str) -> bool:
        """Return whether there is a corpus for every role of a task."""
        return all(self.role(role) is not None for role in TASKS[task].roles)

    def check(self, tasks: Collection[str]) -> list[str]:
        """Check before the first run that every fold and every noisy test set can be made.

        Args:
            tasks: Names of the tasks of the plan.

        Returns:
            Warnings about speakers who lack a class, and about small validation sets.

        Raises:
            CorpusError: If a fold lacks something that it needs.
            NoiseError: If a scene has no recording as long as the longest utterance.
        """
        for task in (TASKS[name] for name in tasks if not TASKS[name].leaves_one_speaker_out):
            share = self.settings.protocol.cross_corpus_validation
            cross_corpus_split(self.dataset(task.tests_on).corpus, share, self.seed)
        if self.noise is not None and self.source is not None:
            longest = int(np.diff(self.source.waveforms.offsets).max())
            for scene in self.settings.noise.scenes:
                self.noise.draw(scene, longest, np.random.default_rng(self.seed))
        return [
            warning
            for task in tasks
            if TASKS[task].leaves_one_speaker_out
            for warning in fold_warnings(
                self.dataset(TASKS[task].tests_on).corpus, [*self.folds(task).values()], self.settings
            )
        ]

    def identify(self, point: GridPoint) -> RunId:
        """Return the identity of a run, with its key."""
        datasets = [self.dataset(role) for role in TASKS[point.task].roles]
        fold = self.folds(point.task)[point.fold]
        choice = self.kernel_choice
        kernels = choice.key(operations_of(point.model, self.settings) if choice.fallbacks else frozenset())
        key = run_key(point, fold, self.settings, self.seed, datasets, self.noise, kernels)
        return RunId(point, " -> ".join(dataset.corpus.title for dataset in datasets), key)

    def subsets(self, point: GridPoint) -> tuple[Subset, Subset, Subset]:
        """Return training, validation and test set of a run.

        Raises:
            ValueError: If the augmentation needs speeds that the source was not prepared with.
        """
        task, fold = TASKS[point.task], self.folds(point.task)[point.fold]
        trains_on, tests_on = self.dataset(task.trains_on), self.dataset(task.tests_on)
        speed = AUGMENTATIONS[point.augmentation].speed
        factors = self.settings.augmentation.speed_factors
        if speed and trains_on.bank.speeds != (1.0, *factors):
            raise ValueError(
                f"{trains_on.corpus.title}: augmentation '{point.augmentation}' needs the speeds {factors}, the "
                f"segments have {trains_on.bank.speeds[1:]}; prepare them with speeds={factors}"
            )
        validation, test = fold.validation, fold.test
        if not task.leaves_one_speaker_out:
            share = self.settings.protocol.cross_corpus_validation
            seed = self._seed("cross-corpus split", point.repeat)
            validation, test = cross_corpus_split(tests_on.corpus, share, seed)
        return (
            trains_on.subset(fold.train, all_speeds=speed),
            tests_on.subset(validation),
            tests_on.subset(test),
        )

    def run(
        self,
        point: GridPoint,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
        on_condition: Callable[[str], None] = lambda _: None,
        checkpoint: Checkpoint | None = None,
    ) -> TrainedModel:
        """Train a network or fit a yardstick, and test it under all conditions of its task.

        Args:
            point: What to train and test.
            on_epoch: Called after every epoch.
            on_condition: Called with the name of each condition before it is tested.
            checkpoint: File from which the training continues. The run can be stopped between two batches, also while
                it is tested.

        Raises:
            TrainingError: If the loss is not finite.
            TrainingStopped: If the checkpoint was asked to stop the run.
        """
        with self.kernels():
            return self._run(point, on_epoch, on_condition, checkpoint)

    def _run(
        self,
        point: GridPoint,
        on_epoch: Callable[[Epoch], None],
        on_condition: Callable[[str], None],
        checkpoint: Checkpoint | None,
    ) -> TrainedModel:
        settings = self.settings
        training, validation, test = self.subsets(point)
        seed, noise_seed = self.training_seed(point), self._seed("noise", point.repeat)
        if is_yardstick := point.model in YARDSTICKS:
            model, history = self._fitted(point.model, training)
        else:
            model = self.model(point.model, seed)
            validate = validation_score(validation, settings.training.monitor)
            augmentation = AUGMENTATIONS[point.augmentation]
            history = train(model, training, validate, settings, augmentation, seed, on_epoch, checkpoint)
        on_batch = (lambda: None) if checkpoint is None else checkpoint.at_boundary
        trial = (UtteranceTrial if is_yardstick else SegmentTrial)(
            model,
            test,
            settings,
            history.normalisation,
            noise=self.noise,
            noise_seed=noise_seed,
            on_condition=on_condition,
            on_batch=on_batch,
        )
        began = time.perf_counter()
        results = evaluate(trial, conditions(point.task, settings, with_noise=self.noise is not None))
        metadata = {
            "settings": settings.model_dump(mode="json"),
            "classes": list(test.dataset.corpus.classes),
            "environment": self.environment(),
            "seeds": {"run": self.seed, "training": seed, "noise": noise_seed},
            "segments": {
                name: len(part.segments)
                for name, part in (("train", training), ("validation", validation), ("test", test))
            },
            "normalisation": asdict(history.normalisation),
            "epochs": [asdict(epoch) for epoch in history.epochs],
            "kept_epoch": history.kept_epoch,
            "training_seconds": history.seconds,
            "test_seconds": time.perf_counter() - began,
        }
        weights = {name: value.cpu() for name, value in model.state_dict().items()}
        return TrainedModel(results, metadata, weights, history.normalisation)

    def _fitted(self, name: str, training: Subset) -> tuple[nn.Module, History]:
        """Return a yardstick on the experiment's device, and a history without epochs."""
        began, normalisation = time.perf_counter(), training.normalisation()
        model = YARDSTICKS[name].fit(training, normalisation, self.settings.training).to(self.device)
        return model, History((), 0, time.perf_counter() - began, normalisation)

    def model(self, name: str, seed: int = 0, device: torch.device | None = None) -> nn.Module:
        """Build a network with fresh weights, on the experiment's device if no other one is given."""
        spectrogram, device = self.settings.spectrogram, device or self.device
        with seeded(seed, device):
            model = build_model(
                name,
                num_classes=len(self._classes),
                settings=self.settings.model,
                segment_frames=spectrogram.segment_frames,
                num_bins=spectrogram.num_bins,
            )
        return model.to(device)

    @property
    def _classes(self) -> tuple[str, ...]:
        datasets = [dataset for dataset in (self.source, self.target) if dataset is not None]
        return datasets[0].corpus.classes

    def role(self, role: Role) -> Dataset | None:
        """Return the dataset that plays a role, or None."""
        return self.source if role == "source" else self.target

    def dataset(self, role: Role) -> Dataset:
        """Return the dataset that plays a role.

        Raises:
            CorpusError: If there is none.
        """
        dataset = self.role(role)
        if dataset is None:
            raise CorpusError(f"there is no {role} corpus; give --{role} NAME=PATH")
        return dataset

    def training_seed(self, point: GridPoint) -> int:
        """Return the seed of a run's weights, order, dropout and mixup."""
        return self._seed("training", asdict(point))

    def _seed(self, *purpose: Any) -> int:
        return int(digest(self.seed, *purpose)[:15], 16)
