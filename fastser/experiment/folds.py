"""Folds: division of a corpus into training, validation and test utterances (paper 5)."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastser.data.corpora import Corpus, CorpusError, Utterance


@dataclass(frozen=True, slots=True)
class Fold:
    """Division of a corpus into sorted utterance indices.

    Attributes:
        name: The test speaker, or "split" where the corpus has a split of its own.
        train: Indices of the training utterances.
        validation: Indices of all utterances of the validation speakers.
        test: Indices of all utterances of the test speaker.
    """

    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def paired_speakers(utterances: Iterable[Utterance]) -> Mapping[str, str]:
    """Return the validation speaker of each test speaker, by the paper's rule.

    The validation speaker is the next speaker of the test speaker's session, in sorted order, the first one after the
    last (paper 5). Speakers without a session, or alone in a session, are paired in sorted order: first with second,
    third with fourth. If their number is odd, the last one is validated on the speaker before it. A single one is
    validated on the speaker before it in the whole corpus.
    """
    sessions = _sessions(utterances)
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


def validation_speakers(corpus: Corpus, min_utterances: int) -> Mapping[str, tuple[str, ...]]:
    """Return the validation speakers of each test speaker.

    The speaker of `paired_speakers` is taken if it has all classes and enough utterances. Otherwise the first speaker
    that has both is taken: speakers of the test speaker's session first, then all others, both in sorted order and
    around. If there is none, speakers are added to the paired one in this order until they have both together. No
    choice takes a class from the training set, and additions leave at least two speakers for training.

    Args:
        corpus: A corpus.
        min_utterances: Smallest number of utterances in a validation set.
    """
    spoken: dict[str, Counter[str]] = defaultdict(Counter)
    for utterance in corpus.utterances:
        spoken[utterance.speaker][utterance.emotion] += 1
    pairs, sessions = paired_speakers(corpus.utterances), _sessions(corpus.utterances)
    together = {s: set().union(*(group for group in sessions.values() if s in group)) for s in corpus.speakers}

    def enough(speakers: Iterable[str]) -> bool:
        counts = sum((spoken[speaker] for speaker in speakers), Counter[str]())
        return counts.total() >= min_utterances and counts.keys() >= set(corpus.classes)

    def trainable(speakers: Iterable[str]) -> bool:
        return set().union(*(spoken[speaker] for speaker in speakers)) >= set(corpus.classes)

    found: dict[str, tuple[str, ...]] = {}
    for test in corpus.speakers:
        place = corpus.speakers.index(test)
        around = [*corpus.speakers[place + 1 :], *corpus.speakers[:place]]
        around.sort(key=lambda speaker: (speaker != pairs[test], speaker not in together[test]))
        possible = [speaker for speaker in around if trainable(set(around) - {speaker})] or [pairs[test]]
        chosen: tuple[str, ...] = (next((speaker for speaker in possible if enough([speaker])), possible[0]),)
        for speaker in (speaker for speaker in around if speaker not in chosen):
            remaining = set(around) - {*chosen, speaker}
            if enough(chosen) or len(remaining) < 2 or not trainable(remaining):
                break
            chosen = (*chosen, speaker)
        found[test] = chosen
    return found


def _sessions(utterances: Iterable[Utterance]) -> dict[str | None, set[str]]:
    """Return the speakers of each session."""
    sessions: dict[str | None, set[str]] = defaultdict(set)
    for utterance in utterances:
        sessions[utterance.session].add(utterance.speaker)
    return sessions


def folds(corpus: Corpus, min_validation: int = 1) -> tuple[Fold, ...]:
    """Return the leave-one-speaker-out folds of a corpus, sorted by test speaker, or the split of its own.

    Args:
        corpus: A corpus.
        min_validation: Smallest number of utterances in a validation set (see `validation_speakers`).

    Raises:
        CorpusError: If there are fewer than three speakers, or the training part of a fold lacks a class.
    """
    if has_own_split(corpus):
        made: tuple[Fold, ...] = (_split_fold(corpus),)
    else:
        if len(corpus.speakers) < 3:
            raise CorpusError(
                f"{corpus.title}: leave-one-speaker-out needs at least 3 speakers (test, validation, training), "
                f"found {len(corpus.speakers)}"
            )
        validates = validation_speakers(corpus, min_validation)
        made = tuple(_speaker_fold(corpus, speaker, validates[speaker]) for speaker in corpus.speakers)
    require_classes_in_training(corpus, made)
    return made


def require_classes_in_training(corpus: Corpus, made: Iterable[Fold]) -> None:
    """Check that every fold trains on all classes.

    Raises:
        CorpusError: If one does not.
    """
    for fold in made:
        present = {corpus.utterances[i].emotion for i in fold.train}
        for emotion in corpus.classes:
            if emotion not in present:
                raise CorpusError(f"{corpus.title}: the training part of fold {fold.name} has no '{emotion}' utterance")


def has_own_split(corpus: Corpus) -> bool:
    """Return whether the corpus fixes its own training, validation and test set."""
    return bool(corpus.utterances) and all(u.split is not None for u in corpus.utterances)


def _speaker_fold(corpus: Corpus, test: str, validation: Collection[str]) -> Fold:
    def spoken_by(keep: Iterable[str]) -> tuple[int, ...]:
        return tuple(i for i, u in enumerate(corpus.utterances) if u.speaker in keep)

    rest = set(corpus.speakers) - {test, *validation}
    return Fold(test, spoken_by(rest), spoken_by(validation), spoken_by({test}))


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
