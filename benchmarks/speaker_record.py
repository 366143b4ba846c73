"""Training of a model with some of the training speakers of a fold."""

from dataclasses import dataclass

import numpy as np

from fastser.augmentation import AUGMENTATIONS
from fastser.data.dataset import Subset
from fastser.evaluation.conditions import Unperturbed, evaluate
from fastser.evaluation.inference import validation_score
from fastser.evaluation.segment_trial import SegmentTrial
from fastser.evaluation.utterance_trial import UtteranceTrial
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.runtime.digests import digest
from fastser.settings import Settings
from fastser.training.loop import train
from fastser.training.state import TrainingError
from fastser.training.yardsticks import YARDSTICKS


@dataclass(frozen=True)
class Trial:
    """A run with some training speakers.

    Attributes:
        point: Point of the grid.
        speakers: Number of training speakers.
    """

    point: GridPoint
    speakers: int


@dataclass(frozen=True)
class Scored:
    """A recorded run.

    Attributes:
        trial: The run.
        utterances: Number of training utterances.
        epochs: Number of epochs, 0 for the yardstick.
        uar: UAR of the test speaker in percent.
    """

    trial: Trial
    utterances: int
    epochs: int
    uar: float


def speakers_of(subset: Subset) -> list[str]:
    """Return the speakers of a subset, sorted."""
    return sorted({subset.dataset.corpus.utterances[i].speaker for i in subset.utterances})


def narrowed(training: Subset, number: int, seed: int) -> Subset:
    """Return the utterances of some speakers, drawn at random.

    A larger number gives the same speakers and further ones.

    Args:
        training: Training set of a fold.
        number: Number of speakers.
        seed: Seed of the draw.

    Raises:
        TrainingError: If these speakers lack a class.
    """
    corpus = training.dataset.corpus
    drawn = {*np.random.default_rng(seed).permutation(speakers_of(training))[:number].tolist()}
    kept = tuple(i for i in training.utterances if corpus.utterances[i].speaker in drawn)
    if missing := {*corpus.classes} - {corpus.utterances[i].emotion for i in kept}:
        raise TrainingError(
            f"the {number} training speakers {', '.join(sorted(drawn))} lack {', '.join(sorted(missing))}"
        )
    return training.dataset.subset(kept)


def score(experiment: Experiment, trial: Trial) -> Scored:
    """Train a model with some of the training speakers, and test it on clean speech."""
    point, whole = trial.point, experiment.settings
    everyone, validation, test = experiment.subsets(point)
    draw = int(digest("training speakers", point.fold, point.repeat)[:15], 16)
    training = narrowed(everyone, trial.speakers, draw)
    settings = _with_equal_updates(whole, len(everyone.segments) / len(training.segments))
    seed, epochs = experiment.training_seed(point), 0
    with experiment.kernels():
        if point.model in YARDSTICKS:
            normalisation = training.normalisation()
            model = YARDSTICKS[point.model].fit(training, normalisation, whole.training).to(experiment.device)
        else:
            model = experiment.model(point.model, seed)
            validate = validation_score(validation, settings.training.monitor)
            history = train(model, training, validate, settings, AUGMENTATIONS["none"], seed)
            normalisation, epochs = history.normalisation, len(history.epochs)
        of_kind = UtteranceTrial if point.model in YARDSTICKS else SegmentTrial
        results = evaluate(of_kind(model, test, whole, normalisation), [Unperturbed()])
    return Scored(trial, len(training.utterances), epochs, 100 * results["clean"].uar)


def _with_equal_updates(settings: Settings, ratio: float) -> Settings:
    """Return settings with `ratio` times as many epochs."""
    return settings.override([f"training.max_epochs={round(settings.training.max_epochs * ratio)}"])
