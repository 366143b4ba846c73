"""The paper's protocol for people with a training loop of their own: train and test on the folds of a corpus."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastser.data.corpora import read_corpus
from fastser.data.dataset import Dataset, Subset, prepare
from fastser.evaluation.adapter import Padding
from fastser.evaluation.further_conditions import RobustnessSettings
from fastser.evaluation.metrics import ConditionResult
from fastser.experiment.folds import Fold, has_own_split, spread
from fastser.experiment.folds import folds as all_folds
from fastser.robustness import leakage
from fastser.robustness.evaluation import LEVELS, WAVEFORMS_IN_A_BATCH, Choose, evaluate_chosen, name_and_path
from fastser.robustness.result import Evaluation
from fastser.robustness.subject import Inputs, subject_of
from fastser.settings import PAPER, Settings


@dataclass(frozen=True)
class Part:
    """Training or validation utterances of a fold.

    Attributes:
        files: Audio files.
        labels: Index of each utterance's class, in the order of `classes`, int64 [utterances].
        speakers: Name of each utterance's speaker.
        classes: Names of the classes.
    """

    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    speakers: tuple[str, ...]
    classes: tuple[str, ...]
    _dataset: Dataset
    _utterances: tuple[int, ...]
    _normalised_by: tuple[int, ...]

    def waveforms(self) -> Iterator[NDArray[np.float32]]:
        """Yield the samples of each utterance at the sample rate of the settings, full scale 1.0."""
        for index in self._utterances:
            yield self._dataset.waveforms[index]

    def segments(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the segments that models are tested on, and the label of each.

        Returns:
            Spectrograms normalised by the training set, float32 [segments, frames, bins], and int64 [segments].
        """
        subset = self._dataset.subset(self._utterances)
        normalisation = self._dataset.subset(self._normalised_by).normalisation()
        segments = self._dataset.bank.gather(subset.segments, normalisation)
        return segments.cpu().numpy(), subset.labels.cpu().numpy()


Fit = Callable[[Part, Part, int], Any]
"""Trains a model: `fit(train, validation, seed) -> model`, a module or a callable on arrays, as `evaluate` takes it."""


def protocol(
    fit: Fit,
    corpus: str,
    *,
    classes: Sequence[str],
    noise: str | None = None,
    inputs: Inputs = "segments",
    folds: int | None = None,
    allow_bad_files: bool = False,
    conditions: Sequence[str] = ("paper",),
    settings: Settings = PAPER,
    levels: RobustnessSettings = LEVELS,
    padding: Padding | None = None,
    batch_size: int = WAVEFORMS_IN_A_BATCH,
    device: torch.device | str = "cpu",
    seed: int = 0,
    title: str | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Train a model for each fold of a corpus, and test it on the test utterances of the fold.

    A fold leaves one speaker out, and its validation speakers are those of the paper. A corpus with a split of its own,
    such as MELD or a manifest with the column `split`, has this split as its only fold. Its speakers may be on both
    sides, and a note then says so. Everything that does not train is that of `fastser.evaluate`.

    Args:
        fit: Trains a model.
        corpus: Speech as "NAME=PATH".
        classes: Names of the classes, in the order of the labels and of the model's outputs.
        noise: As in `fastser.evaluate`.
        inputs: As in `fastser.evaluate`. Segments are normalised by the training set of each fold.
        folds: Number of folds, evenly spread over the speakers, or None for one per speaker. A split of the corpus
            itself is always one fold.
        allow_bad_files: Go on even if more than 5 % of the corpus' files are unusable, in training and test.
        conditions: As in `fastser.evaluate`.
        settings: As in `fastser.evaluate`.
        levels: As in `fastser.evaluate`.
        padding: As in `fastser.evaluate`.
        batch_size: As in `fastser.evaluate`.
        device: Device of the tests, as in `fastser.evaluate`.
        seed: Seed that `fit` gets, and that of noise. Another seed is another repeat.
        title: Name for tables, by default that of the function.
        out: As in `fastser.evaluate`.
        progress: Print each fold and condition to standard error when it begins.

    Returns:
        Predictions for the test utterances of all folds, each by the model of its fold. No model has seen its test
        utterances. Without a split of the corpus itself, no model has heard its test speaker.

    Raises:
        ModelError: If a model cannot be tested.
        CorpusError: If the corpus cannot be read.

    Example:
        >>> import fastser
        >>> def fit(train, validation, seed):
        ...     segments, labels = train.segments()  # [n, 256, 128], [n]
        ...     return my_training(segments, labels, *validation.segments(), seed)
        >>> classes = ["angry", "happy", "neutral", "sad"]
        >>> result = fastser.protocol(fit, "emodb=EMODB", classes=classes)  # doctest: +SKIP
    """
    speech = read_corpus(*name_and_path("corpus", corpus), classes)
    dataset = prepare(speech, settings, allow_bad_files=allow_bad_files)
    made = spread(all_folds(dataset.corpus, settings.protocol.min_validation_utterances), folds)
    results: dict[str, list[ConditionResult]] = {}
    notes: dict[str, None] = dict.fromkeys(filter(None, [speech.missing_audio]))
    for number, fold in enumerate(made, 1):
        if progress:
            print(f"fold {fold.name} ({number} of {len(made)})", file=sys.stderr, flush=True)
        train, validation = (_part(dataset, part, fold.train) for part in (fold.train, fold.validation))
        subject = subject_of(
            fit(train, validation, seed),
            settings,
            classes=classes,
            inputs=inputs,
            normalisation=dataset.subset(fold.train).normalisation() if inputs == "segments" else None,
        )
        tested = evaluate_chosen(
            subject,
            speech,
            _test_set_of(fold, dataset),
            noise=noise,
            allow_leakage=False,
            allow_bad_files=allow_bad_files,
            conditions=conditions,
            levels=levels,
            padding=padding,
            batch_size=batch_size,
            device=device,
            seed=seed,
            out=out,
            progress=progress,
        )
        notes |= dict.fromkeys(tested.notes)
        for name, result in tested.results.items():
            results.setdefault(name, []).append(result)
    joined = {name: ConditionResult.joined(of_folds) for name, of_folds in results.items()}
    name = title or str(getattr(fit, "__name__", "model"))
    return Evaluation(name, dataset.corpus.title, dataset.corpus.classes, joined, tuple(notes))


def _test_set_of(fold: Fold, dataset: Dataset) -> Choose:
    """Return the function that finds the test utterances of a fold in a dataset of the same corpus."""
    ids = {dataset.corpus.utterances[i].id for i in fold.test}

    def choose(tested: Dataset) -> tuple[Subset, list[str]]:
        test = tested.subset([i for i, utterance in enumerate(tested.corpus.utterances) if utterance.id in ids])
        if not has_own_split(dataset.corpus):
            return test, []
        return test, leakage.of_own_split(dataset, (*fold.train, *fold.validation), fold.test)

    return choose


def _part(dataset: Dataset, utterances: Sequence[int], train: tuple[int, ...]) -> Part:
    chosen = [dataset.corpus.utterances[i] for i in utterances]
    return Part(
        tuple(utterance.path for utterance in chosen),
        np.array([dataset.corpus.classes.index(utterance.emotion) for utterance in chosen]),
        tuple(utterance.speaker for utterance in chosen),
        dataset.corpus.classes,
        dataset,
        tuple(utterances),
        train,
    )
