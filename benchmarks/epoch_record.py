"""Record of a training: validation and test scores after every epoch.

The test scores are only recorded. The training is that of the grid, bit by bit.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import nn

from fastser.augmentation import AUGMENTATIONS
from fastser.data.normalisation import Normalisation
from fastser.evaluation.conditions import Unperturbed, evaluate
from fastser.evaluation.inference import posteriors, result_of
from fastser.evaluation.metrics import METRICS, ConditionResult
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.runtime.files import atomic_write
from fastser.settings import Settings
from fastser.training.loop import train


@dataclass(frozen=True)
class EpochScores:
    """Scores after one epoch.

    Attributes:
        training_loss: Mean training loss of the epoch.
        accuracy: Validation accuracy over utterances, a fraction.
        uar: Validation UAR, a fraction.
        loss: Validation loss: mean cross-entropy of the utterances' posteriors.
        test_uar: UAR of the test speaker on clean speech, a fraction.
    """

    training_loss: float
    accuracy: float
    uar: float
    loss: float
    test_uar: float


@dataclass(frozen=True)
class RunRecord:
    """A run that was trained for all epochs.

    Attributes:
        point: Point of the grid.
        validation_utterances: Number of utterances in the validation set.
        test_utterances: Number of utterances in the test set.
        epochs: Scores after epoch 1, 2, ...
    """

    point: GridPoint
    validation_utterances: int
    test_utterances: int
    epochs: tuple[EpochScores, ...]

    def write(self, path: Path) -> None:
        """Write the record as JSON, completely or not at all."""
        with atomic_write(path) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Read a record that `write` has written."""
        values = json.loads(path.read_text(encoding="utf-8"))
        epochs = tuple(EpochScores(**epoch) for epoch in values.pop("epochs"))
        return cls(point=GridPoint(**values.pop("point")), epochs=epochs, **values)


def without_early_end(settings: Settings) -> Settings:
    """Return settings with which a training lasts for all `max_epochs` epochs.

    Up to the epoch in which the original settings end it, the training is the same.
    """
    return settings.override([f"training.stop_after={settings.training.max_epochs}"])


def record_run(experiment: Experiment, point: GridPoint) -> RunRecord:
    """Train the model of a run as `Experiment.run` does, and test it on clean speech after every epoch.

    Args:
        experiment: Data, settings and seed. The settings say when the training ends.
        point: Run of a task that leaves one speaker out.

    Raises:
        TrainingError: If the loss is not finite.
    """
    settings = experiment.settings
    training, validation, test = experiment.subsets(point)
    validated: list[ConditionResult] = []
    tested: list[ConditionResult] = []

    def validate(model: nn.Module, normalisation: Normalisation, on_batch: Callable[[], None]) -> float:
        validated.append(result_of(validation, posteriors(model, validation, normalisation, on_batch)))
        trial = SegmentTrial(model, test, settings, normalisation, on_batch=on_batch)
        tested.extend(evaluate(trial, [Unperturbed()]).values())
        return METRICS[settings.training.monitor].of(validated[-1])

    seed = experiment.training_seed(point)  # the seed of the same run in `Experiment.run`
    with experiment.kernels():
        model = experiment.model(point.model, seed)
        history = train(model, training, validate, settings, AUGMENTATIONS[point.augmentation], seed)
    scores = (
        EpochScores(epoch.loss, ours.accuracy, ours.uar, cross_entropy(ours), theirs.uar)
        for epoch, ours, theirs in zip(history.epochs, validated, tested, strict=True)
    )
    return RunRecord(point, len(validation.utterances), len(test.utterances), tuple(scores))


def cross_entropy(result: ConditionResult) -> float:
    """Return the mean negative logarithm of the posterior of the true class, in nats."""
    of_truth = result.posteriors[np.arange(len(result.labels)), result.labels].astype(np.float64)
    smallest = np.finfo(np.float32).tiny  # a posterior can underflow to zero
    return float(-np.log(np.maximum(of_truth, smallest)).mean())
