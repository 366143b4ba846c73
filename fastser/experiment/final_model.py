"""Final models: trained on all utterances of a corpus, after leave-one-speaker-out runs have chosen the epochs."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fastser.augmentation import AUGMENTATIONS
from fastser.data.corpora import Corpus
from fastser.data.dataset import Dataset
from fastser.experiment.experiment import Experiment
from fastser.experiment.finished_runs import finished_runs
from fastser.experiment.results_folder import ResultsError
from fastser.experiment.stored_runs import Run
from fastser.experiment.tasks import TASKS
from fastser.runtime.digests import digest
from fastser.runtime.files import printable
from fastser.settings import Settings
from fastser.training.fixed_length import train_for
from fastser.training.loop import History
from fastser.training.schedule import Epoch
from fastser.training.yardsticks import YARDSTICKS

_SECTIONS = ("audio", "spectrogram", "model", "training", "augmentation", "evaluation")
"""Sections of the settings that the runs of a network must share with the final model."""

_YARDSTICK_SETTINGS = {"audio": None, "spectrogram": None, "training": {"class_weights"}}
"""Settings that the runs of a yardstick must share with the final model: whole sections (None) or single names."""


@dataclass(frozen=True)
class FinalModel:
    """A model that is trained on all utterances of a corpus.

    Attributes:
        weights: State dict on the CPU.
        history: The training.
        seed: Seed of the training.
    """

    weights: Mapping[str, Tensor]
    history: History
    seed: int


def train_final(
    experiment: Experiment,
    model: str,
    augmentation: str,
    epochs: int,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> FinalModel:
    """Train a network, or fit a yardstick, on all utterances of the source.

    Args:
        experiment: Data, settings and seed.
        model: Name of a network or a yardstick.
        augmentation: Name of the augmentation.
        epochs: Number of epochs of a network.
        on_epoch: Called after every epoch.

    Raises:
        TrainingError: If the loss is not finite.
    """
    source, settings, variant = experiment.dataset("source"), experiment.settings, AUGMENTATIONS[augmentation]
    training = source.subset(range(len(source.corpus.utterances)), all_speeds=variant.speed)
    seed = int(digest(experiment.seed, "training on all utterances", model, augmentation)[:15], 16)
    with experiment.kernels():
        if model in YARDSTICKS:
            normalisation = training.normalisation()
            module = YARDSTICKS[model].fit(training, normalisation, settings.training)
            history = History((), 0, 0.0, normalisation)
        else:
            module = experiment.model(model, seed)
            history = train_for(epochs, module, training, settings, variant, seed, on_epoch)
    return FinalModel({name: value.cpu() for name, value in module.state_dict().items()}, history, seed)


def median_epochs(runs: Sequence[Run]) -> int:
    """Return the median of the kept epochs of some runs, rounded to a whole number."""
    epochs: list[int] = [run.metadata["kept_epoch"] for run in runs]
    return max(1, round(statistics.median(epochs)))


def tested_runs(out: Path, dataset: Dataset, settings: Settings, seed: int, model: str, augmentation: str) -> list[Run]:
    """Return the finished leave-one-speaker-out runs of a model in a results folder.

    Args:
        out: Results folder.
        dataset: Corpus of the runs. Their tested speakers must be its speakers.
        settings: All settings, with a chosen precision. Runs of other settings are left out.
        seed: Seed of the grid. Runs of other seeds are left out.
        model: Name of the model.
        augmentation: Name of the augmentation.

    Raises:
        ResultsError: If there is none, a speaker is not one of the corpus, or a fold and repeat was tested twice.
    """
    corpus = dataset.corpus
    of_model = [run for run in finished_runs(out) if _is_of(run, corpus.title, model, augmentation)]
    what = f"--from {printable(out)}: of {model}, {augmentation}, on {corpus.title}"
    if not of_model:
        raise ResultsError(f"{what} it holds no finished leave-one-speaker-out run; make these runs first")
    differing = [_differences(run, settings, corpus.classes, seed) for run in of_model]
    runs = [run for run, differs in zip(of_model, differing, strict=True) if not differs]
    if not runs:
        fewest: list[str] = min(differing, key=len)
        asked = ", ".join(fewest)
        raise ResultsError(f"{what} it holds runs of other settings only; give the settings of its runs: {asked}")
    places = Counter((run.id.point.task, run.id.point.fold, run.id.point.repeat) for run in runs)
    foreign = sorted({run.id.point.fold for run in runs} - {*corpus.speakers, "split"})
    if foreign:
        raise ResultsError(f"{what} it holds runs with other speakers ({', '.join(foreign)}); give the same corpus")
    if other := sorted({run.id.point.fold for run in runs if not _tested_all(run, corpus)}):
        raise ResultsError(f"{what} it holds runs with other utterances of {', '.join(other)}; give the same corpus")
    if len({task for task, _, _ in places}) > 1 or max(places.values()) > 1:
        raise ResultsError(f"{what} it holds several runs of one fold and repeat; give a folder of one experiment")
    return runs


def _is_of(run: Run, title: str, model: str, augmentation: str) -> bool:
    point = run.id.point
    wanted = (title, model, augmentation)
    return (run.id.corpus, point.model, point.augmentation) == wanted and TASKS[point.task].leaves_one_speaker_out


def _tested_all(run: Run, corpus: Corpus) -> bool:
    """Return whether a run tested every utterance of its speaker, counted by class. A split is not looked at."""
    own = [utterance.emotion for utterance in corpus.utterances if utterance.speaker == run.id.point.fold]
    counts = [own.count(name) for name in corpus.classes]
    return run.id.point.fold == "split" or run.by_speaker["clean"][run.id.point.fold].sum(axis=1).tolist() == counts


def _differences(run: Run, settings: Settings, classes: Sequence[str], seed: int) -> list[str]:
    """Return what differs between a run and the wanted settings, as "NAME=VALUE of the run"."""
    of_yardstick = run.id.point.model in YARDSTICKS
    shared = _YARDSTICK_SETTINGS if of_yardstick else dict.fromkeys(_SECTIONS)
    wanted, defaults = (values.model_dump(mode="json") for values in (settings, Settings()))
    found: dict[str, Any] = run.metadata["settings"]
    differences = []
    for section, names in shared.items():
        for name in names or wanted[section]:
            theirs = found[section].get(name, defaults[section][name])  # of older runs
            if theirs != wanted[section][name]:
                differences.append(f"{section}.{name}={theirs}")
    if list(classes) != run.classes:
        differences.append(f"classes={','.join(run.classes)}")
    if run.metadata["seeds"]["run"] != seed:
        differences.append(f"seed={run.metadata['seeds']['run']}")
    return differences
