"""Folds: division of a corpus into training, validation and test utterances (paper 5)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastser.data.corpora import Corpus, CorpusError, Utterance


@dataclass(frozen=True, slots=True)
class Fold:
    """Division of a corpus into sorted utterance indices.

    Attributes:
        name: The test speaker, or "split" where the corpus has a split of its own.
        train: Indices of the training utterances.
        validation: Indices of all utterances of the validation speaker.
        test: Indices of all utterances of the test speaker.
    """

    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def validation_speakers(utterances: Iterable[Utterance]) -> Mapping[str, str]:
    """Return the validation speaker of each test speaker.

    The validation speaker is the next speaker of the test speaker's session, in sorted order, the first one after the
    last (paper 5). Speakers without a session, or alone in a session, are paired in sorted order: first with second,
    third with fourth. If their number is odd, the last one is validated on the speaker before it. A single one is
    validated on the speaker before it in the whole corpus.
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
    """Return the leave-one-speaker-out folds of a corpus, sorted by test speaker, or the split of its own.

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
        for emotion in corpus.classes:
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
    """Return `count` evenly spaced folds, or all of them if `count` is None or larger than their number."""
    if count is None or count >= len(items):
        return tuple(items)
    return tuple(items[i * len(items) // count] for i in range(count))


def cross_corpus_split(target: Corpus, share: float, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Divide a corpus at random into validation and test utterances, class by class (paper 5.4, open 35).

    Args:
        target: Corpus that cross-corpus models are tested on.
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
    for emotion in target.classes:
        members = [i for i, u in enumerate(target.utterances) if u.emotion == emotion]
        if len(members) < 2:
            raise CorpusError(
                f"{target.title}: the cross-corpus split needs two '{emotion}' utterances, found {len(members)}"
            )
        shuffled = rng.permutation(members).tolist()
        cut = min(max(round(share * len(members)), 1), len(members) - 1)
        validation += shuffled[:cut]
        test += shuffled[cut:]
    return tuple(sorted(validation)), tuple(sorted(test))
