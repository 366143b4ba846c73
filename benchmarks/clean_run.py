"""Runs of studies: a model that is trained on given sets and tested on clean speech, and its record."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from benchmarks.speaker_means import Place
from fastser.augmentation import AUGMENTATIONS
from fastser.data.dataset import Subset
from fastser.evaluation.conditions import Unperturbed, evaluate
from fastser.evaluation.inference import validation_score
from fastser.evaluation.metrics import ConditionResult
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.evaluation.utterance_trial import UtteranceTrial
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.runtime.files import atomic_write
from fastser.settings import Settings
from fastser.training.loop import train
from fastser.training.yardsticks import YARDSTICKS


class Sets(NamedTuple):
    """Training, validation and test set of one training."""

    training: Subset
    validation: Subset
    test: Subset


@dataclass(frozen=True)
class StudyRun:
    """A run of a study.

    Attributes:
        point: Point of the grid.
    """

    point: GridPoint


AnyRun = TypeVar("AnyRun", bound=StudyRun)


@dataclass(frozen=True)
class Scored(Generic[AnyRun]):
    """A recorded run.

    Attributes:
        run: The run.
        utterances: Number of training utterances.
        epochs: Number of epochs, 0 for the yardstick.
        uar: UAR of the test speaker in percent.
    """

    run: AnyRun
    utterances: int
    epochs: int
    uar: float

    @property
    def place(self) -> Place:
        """Fold and repeat."""
        return self.run.point.fold, self.run.point.repeat

    def write(self, path: Path) -> None:
        """Write the record as JSON, completely or not at all."""
        with atomic_write(path) as part:
            part.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path, run: AnyRun) -> "Scored[AnyRun]":
        """Read the record of a run that `write` has written."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(run, values["utterances"], values["epochs"], values["uar"])


def train_and_test(
    experiment: Experiment, point: GridPoint, sets: Sets, settings: Settings
) -> tuple[ConditionResult, int]:
    """Train the model of a run, or fit it if it is a yardstick, and test it on clean speech.

    With the sets and settings of the experiment, the model is that of `Experiment.run`, bit by bit.

    Args:
        experiment: Device, kernels and seed.
        point: Point of the grid. It names the model and gives the seed.
        sets: Training, validation and test set.
        settings: All settings.

    Returns:
        The predictions for the test set, and the number of epochs.

    Raises:
        TrainingError: If the loss is not finite.
    """
    seed, epochs = experiment.training_seed(point), 0
    with experiment.kernels():
        if point.model in YARDSTICKS:
            normalisation = sets.training.normalisation()
            model = YARDSTICKS[point.model].fit(sets.training, normalisation, settings.training).to(experiment.device)
        else:
            model = experiment.model(point.model, seed)
            validate = validation_score(sets.validation, settings.training.monitor)
            history = train(model, sets.training, validate, settings, AUGMENTATIONS["none"], seed)
            normalisation, epochs = history.normalisation, len(history.epochs)
        of_kind = UtteranceTrial if point.model in YARDSTICKS else SegmentTrial
        results = evaluate(of_kind(model, sets.test, settings, normalisation), [Unperturbed()])
    return results["clean"], epochs
