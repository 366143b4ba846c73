"""Which trainings and which test conditions make which table (paper 5): folds, repeats, the grid."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fastser.data.corpora.base import PAPER_CLASSES, Corpus, CorpusError, Utterance
from fastser.settings import Settings

Task = Literal["source", "target", "cross"]
"""Leave-one-speaker-out on the source, the same on the target, and training on the source to test on the target."""

TASKS: tuple[Task, ...] = get_args(Task)

MODELS = {
    "cnn": "CNN",
    "cnn-lstm": "CNN-LSTM",
    "densenet": "DenseNet",
    "densenet-lstm": "DenseNet-LSTM",
    "proposed": "Proposed",
}
"""The architectures in the order of the paper's Table 1, with the names it prints."""

AUGMENTATIONS = ("none", "speed", "mixup", "speed+mixup")
"""The four training-set variants, in the order in which the tables show them."""

TABLES = ("table1", "table2", "table3", "table4", "figure2")
"""What of the paper can be made."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Utterance indices of one division of a corpus, each sorted.

    Attributes:
        name: The test speaker, or "split" where the corpus fixes its own.
        train: Indices into the corpus' utterances.
        validation: The same; all utterances of the validation speaker.
        test: The same; all utterances of the test speaker.
    """

    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One cell of the grid: one model trained once.

    Attributes:
        task: What is trained and tested on what.
        model: Name of the architecture.
        augmentation: Name of the training-set variant.
        fold: Name of the fold; "all" for the cross-corpus task.
        repeat: 1, 2, ...; each repeat has seeds of its own.
    """

    task: Task
    model: str
    augmentation: str
    fold: str
    repeat: int

    @property
    def label(self) -> str:
        """For people: "proposed, speed+mixup, fold Ses01F, repeat 1"."""
        return f"{self.model}, {self.augmentation}, fold {self.fold}, repeat {self.repeat}"


def validation_speakers(utterances: Iterable[Utterance]) -> Mapping[str, str]:
    """The validation speaker of each test speaker.

    It is the next speaker of the test speaker's session, in sorted order and around (paper 5). Speakers without a
    session, or alone in theirs, are paired in sorted order, first with second, third with fourth; of an odd number the
    last is validated on the one before it, and a single one on the speaker before it in the whole corpus.
    """
    sessions: dict[str | None, set[str]] = defaultdict(set)
    for utterance in utterances:
        sessions[utterance.session].add(utterance.speaker)
    everyone = sorted(set().union(*sessions.values()))
    pairs: dict[str, str] = {}
    for session in sorted(filter(None, sessions)):
        around = sorted(sessions[session])
        if len(around) > 1:
            pairs |= {speaker: around[(i + 1) % len(around)] for i, speaker in enumerate(around)}
    rest = [speaker for speaker in everyone if speaker not in pairs]
    if len(rest) == 1:
        return pairs | {rest[0]: everyone[everyone.index(rest[0]) - 1]}
    return pairs | {s: rest[i ^ 1 if i ^ 1 < len(rest) else i - 1] for i, s in enumerate(rest)}


def folds(corpus: Corpus) -> tuple[Fold, ...]:
    """Leave-one-speaker-out folds of a corpus, sorted by test speaker, or its own split where it fixes one.

    Raises:
        CorpusError: If there are fewer than three speakers, or the training part of a fold lacks a class.
    """
    if all(u.split is not None for u in corpus.utterances):
        made: tuple[Fold, ...] = (_split_fold(corpus),)
    else:
        if len(corpus.speakers) < 3:
            raise CorpusError(
                f"{corpus.title}: leave-one-speaker-out needs at least 3 speakers (test, validation, training), "
                f"found {len(corpus.speakers)}"
            )
        validates = validation_speakers(corpus.utterances)
        made = tuple(_speaker_fold(corpus, speaker, validates[speaker]) for speaker in corpus.speakers)
    for fold in made:
        present = {corpus.utterances[i].emotion for i in fold.train}
        for emotion in PAPER_CLASSES:
            if emotion not in present:
                raise CorpusError(f"{corpus.title}: the training part of fold {fold.name} has no '{emotion}' utterance")
    return made


def _speaker_fold(corpus: Corpus, test: str, validation: str) -> Fold:
    def spoken_by(keep: Iterable[str]) -> tuple[int, ...]:
        return tuple(i for i, u in enumerate(corpus.utterances) if u.speaker in keep)

    rest = set(corpus.speakers) - {test, validation}
    return Fold(test, spoken_by(rest), spoken_by({validation}), spoken_by({test}))


def _split_fold(corpus: Corpus) -> Fold:
    parts = {
        name: tuple(i for i, u in enumerate(corpus.utterances) if u.split == name)
        for name in ("train", "validation", "test")
    }
    for name, part in parts.items():
        if not part:
            raise CorpusError(f"{corpus.title}: its own split has no '{name}' utterance")
    return Fold("split", **parts)


def spread(items: Sequence[Fold], count: int | None) -> tuple[Fold, ...]:
    """`count` of the folds, evenly spaced; all of them where `count` is None or larger than their number."""
    if count is None or count >= len(items):
        return tuple(items)
    return tuple(items[i * len(items) // count] for i in range(count))


def cross_corpus_split(target: Corpus, share: float, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Divide the target at random into validation and test utterances, class by class (paper 5.4, open 35).

    Args:
        target: The corpus that is tested.
        share: Share of each class for validation.
        seed: Seed of the draw.

    Returns:
        Sorted utterance indices (validation, test).

    Raises:
        CorpusError: If a class has fewer than two utterances.
    """
    rng = np.random.default_rng(seed)
    validation: list[int] = []
    test: list[int] = []
    for label, emotion in enumerate(PAPER_CLASSES):
        members = [i for i, u in enumerate(target.utterances) if u.label == label]
        if len(members) < 2:
            raise CorpusError(
                f"{target.title}: the cross-corpus split needs two '{emotion}' utterances, found {len(members)}"
            )
        shuffled = rng.permutation(members).tolist()
        cut = min(max(round(share * len(members)), 1), len(members) - 1)
        validation += shuffled[:cut]
        test += shuffled[cut:]
    return tuple(sorted(validation)), tuple(sorted(test))


def conditions(task: Task, settings: Settings) -> tuple[str, ...]:
    """Names of the conditions under which a task's trained model is tested; per-scene ones included."""
    if task == "cross":
        return ("cross-corpus",)
    if task == "target":
        return ("clean",)
    noise = [noise_condition(snr) for snr in settings.noise.snr_db]
    by_scene = [noise_condition(snr, scene) for scene in settings.noise.scenes for snr in settings.noise.snr_db]
    return ("clean", *noise, *by_scene, "fgsm", "bim")


def noise_condition(snr_db: float, scene: str | None = None) -> str:
    """Name of a noisy condition: "noise-10db" for a scene drawn per utterance, "noise-park-10db" for one scene."""
    return f"noise-{snr_db:g}db" if scene is None else f"noise-{scene}-{snr_db:g}db"


def noise_parts(condition: str) -> tuple[str, float] | None:
    """Scene ("" for one drawn per utterance) and SNR in dB of a noisy condition; None for any other condition."""
    match = re.fullmatch(r"noise-(?:(.+?)-)?(-?[\d.]+)db", condition)
    return (match[1] or "", float(match[2])) if match else None


def plan(
    tables: Iterable[str],
    fold_names: Mapping[str, Sequence[str]],
    models: Sequence[str],
    augmentations: Sequence[str],
    repeats: int,
) -> tuple[GridPoint, ...]:
    """The smallest set of trainings from which the tables can be made.

    Args:
        tables: Some of `TABLES`.
        fold_names: Folds of each task that can be run; a task that is not there is left out.
        models: Architectures, in the tables' order.
        augmentations: Training-set variants, in the tables' order.
        repeats: How often each is trained.

    Returns:
        Trainings ordered by repeat, task, fold, then model and augmentation, so that an interrupted run has whole
        comparisons.
    """
    wanted = set(tables)
    grid = (
        GridPoint(task, model, augmentation, fold, repeat)
        for repeat in range(1, repeats + 1)
        for task in TASKS
        for fold in fold_names.get(task, ())
        for model in models
        for augmentation in augmentations
    )
    return tuple(cell for cell in grid if wanted & tables_of(cell))


def tables_of(cell: GridPoint) -> frozenset[str]:
    """Which of `TABLES` a training fills."""
    if cell.task == "cross":
        return frozenset({"figure2", "table4"} if cell.model == "proposed" else {"figure2"})
    plain = {"table1"} if cell.augmentation == "none" else set()
    return frozenset(plain | {"table2", "table3"} if cell.task == "source" else plain)
