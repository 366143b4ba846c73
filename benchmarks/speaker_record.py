"""Training of a model with some of the training speakers of a fold."""

from dataclasses import dataclass

import numpy as np

from benchmarks.clean_run import Scored, Sets, StudyRun, train_and_test
from fastser.data.dataset import Subset
from fastser.experiment.experiment import Experiment
from fastser.runtime.digests import digest
from fastser.settings import Settings
from fastser.training.state import TrainingError


@dataclass(frozen=True)
class SpeakersRun(StudyRun):
    """A run with some training speakers.

    Attributes:
        speakers: Number of training speakers.
    """

    speakers: int


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


def score(experiment: Experiment, run: SpeakersRun) -> Scored[SpeakersRun]:
    """Train a model with some of the training speakers, and test it on clean speech."""
    point = run.point
    everyone, validation, test = experiment.subsets(point)
    draw = int(digest("training speakers", point.fold, point.repeat)[:15], 16)
    training = narrowed(everyone, run.speakers, draw)
    settings = _with_equal_updates(experiment.settings, len(everyone.segments) / len(training.segments))
    result, epochs = train_and_test(experiment, point, Sets(training, validation, test), settings)
    return Scored(run, len(training.utterances), epochs, 100 * result.uar)


def _with_equal_updates(settings: Settings, ratio: float) -> Settings:
    """Return settings with `ratio` times as many epochs."""
    return settings.override([f"training.max_epochs={round(settings.training.max_epochs * ratio)}"])
