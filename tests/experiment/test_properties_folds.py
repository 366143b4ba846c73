"""Properties of folds and the cross-corpus split: no utterance is tested twice, leaks, or is left out."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fastser.data.corpora import Corpus, CorpusError, Utterance
from fastser.experiment.folds import Fold, cross_corpus_split, folds, paired_speakers, spread, validation_speakers
from fastser.settings import PAPER_CLASSES

SPEAKERS = st.lists(st.text("aAbé0-", min_size=1, max_size=2), min_size=1, max_size=9, unique=True)


@st.composite
def corpora(draw: Any, *, split: bool = False) -> Corpus:
    """Draw speakers with any number of utterances. Sessions may be missing or shared, or a speaker may have several."""
    utterances = []
    for speaker in draw(SPEAKERS):
        sessions = draw(st.lists(st.sampled_from([None, "1", "2", "3"]), min_size=1, max_size=2))
        # most speakers have all classes, so that most corpora have folds
        spoken = [
            *draw(st.sampled_from([PAPER_CLASSES, PAPER_CLASSES, PAPER_CLASSES, ()])),
            *draw(st.lists(st.sampled_from(PAPER_CLASSES))),
        ]
        for number, emotion in enumerate(spoken):
            part = draw(st.sampled_from(["train", "validation", "test"])) if split else None
            session = sessions[number % len(sessions)]
            utterances.append(Utterance(f"{speaker}/{number}", Path("none"), speaker, emotion, session, part))
    return Corpus("made-up", "Made-up", Path("none"), tuple(draw(st.permutations(utterances))), PAPER_CLASSES)


def folds_or_reason(corpus: Corpus) -> tuple[Fold, ...] | str:
    try:
        return folds(corpus)
    except CorpusError as error:
        return str(error)


def speakers_of(corpus: Corpus, part: tuple[int, ...]) -> set[str]:
    return {corpus.utterances[i].speaker for i in part}


def names_of(corpus: Corpus, fold: Fold) -> tuple[str, ...]:
    parts = (fold.train, fold.validation, fold.test)
    return (fold.name, *(" ".join(sorted(corpus.utterances[i].id for i in part)) for part in parts))


@given(corpora())
def test_no_speaker_is_in_two_parts_and_every_utterance_is_tested_once(corpus: Corpus) -> None:
    made = folds_or_reason(corpus)
    if isinstance(made, str):
        assert "needs at least 3 speakers" in made or "has no '" in made
        assert len(corpus.speakers) < 3 or "has no '" in made
        return
    everything = list(range(len(corpus.utterances)))
    assert sorted(i for fold in made for i in fold.test) == everything
    assert [fold.name for fold in made] == list(corpus.speakers)
    for fold in made:
        parts = (fold.train, fold.validation, fold.test)
        assert sorted(i for part in parts for i in part) == everything
        assert all(list(part) == sorted(part) for part in parts)
        spoken = [speakers_of(corpus, part) for part in parts]
        assert spoken[2] == {fold.name}
        assert spoken[1]
        assert sum(map(len, spoken)) == len(set().union(*spoken)) == len(corpus.speakers)
        assert {corpus.utterances[i].emotion for i in fold.train} == set(PAPER_CLASSES)


@given(corpora())
def test_folds_are_refused_only_for_what_they_lack(corpus: Corpus) -> None:
    made = folds_or_reason(corpus)
    possible = len(corpus.speakers) >= 3
    if possible:
        for speaker, validates in validation_speakers(corpus, 1).items():
            possible = possible and trained_classes(corpus, {speaker, *validates}) == set(PAPER_CLASSES)
    assert isinstance(made, str) != possible


def trained_classes(corpus: Corpus, left_out: set[str]) -> set[str]:
    """Return the classes of all speakers but some."""
    return {u.emotion for u in corpus.utterances if u.speaker not in left_out}


@given(corpora(), st.integers(1, 8))
def test_choosing_validation_speakers_costs_no_fold(corpus: Corpus, min_utterances: int) -> None:
    pairs, chosen = paired_speakers(corpus.utterances), validation_speakers(corpus, min_utterances)
    assert chosen.keys() == pairs.keys()
    for speaker, validates in chosen.items():
        assert speaker not in validates or len(corpus.speakers) == 1
        if trained_classes(corpus, {speaker, pairs[speaker]}) == set(PAPER_CLASSES):
            assert trained_classes(corpus, {speaker, *validates}) == set(PAPER_CLASSES)


@given(corpora())
def test_validation_and_test_are_of_one_session_where_it_has_two_speakers(corpus: Corpus) -> None:
    sessions: dict[str, set[str]] = {}
    for utterance in corpus.utterances:
        if utterance.session is not None:
            sessions.setdefault(utterance.session, set()).add(utterance.speaker)
    validates = paired_speakers(corpus.utterances)
    assert sorted(validates) == list(corpus.speakers)
    for speaker, other in validates.items():
        assert other in corpus.speakers
        assert other != speaker or len(corpus.speakers) == 1
        shared = [members for members in sessions.values() if speaker in members and len(members) > 1]
        if shared:
            assert any(other in members for members in shared)


@given(corpora(), st.randoms(use_true_random=False))
def test_folds_do_not_depend_on_the_order_of_utterances(corpus: Corpus, random: Any) -> None:
    mixed = list(corpus.utterances)
    random.shuffle(mixed)
    other = Corpus("made-up", "Made-up", Path("none"), tuple(mixed), PAPER_CLASSES)
    assert validation_speakers(other, 3) == validation_speakers(corpus, 3)
    made, again = folds_or_reason(corpus), folds_or_reason(other)
    if isinstance(made, str):
        assert made == again
    else:
        assert [names_of(corpus, fold) for fold in made] == [names_of(other, fold) for fold in again]


@given(corpora(split=True))
def test_a_corpus_s_own_split_is_taken_as_it_is(corpus: Corpus) -> None:
    made = folds_or_reason(corpus)
    if isinstance(made, str):
        lacking = {u.split for u in corpus.utterances} != {"train", "validation", "test"}
        trained = {u.emotion for u in corpus.utterances if u.split == "train"}
        assert lacking or trained != set(PAPER_CLASSES)
        return
    (fold,) = made
    for name, part in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)):
        assert list(part) == [i for i, u in enumerate(corpus.utterances) if u.split == name]


@given(corpora(), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_the_cross_corpus_split_divides_every_class(corpus: Corpus, share: float, seed: int) -> None:
    counts = corpus.class_counts()
    if min(counts[emotion] for emotion in PAPER_CLASSES) < 2:
        with pytest.raises(CorpusError, match="needs two"):
            cross_corpus_split(corpus, share, seed)
        return
    validation, test = cross_corpus_split(corpus, share, seed)
    assert sorted(validation + test) == list(range(len(corpus.utterances)))
    assert (list(validation), list(test)) == (sorted(validation), sorted(test))
    assert cross_corpus_split(corpus, share, seed) == (validation, test)
    for emotion in PAPER_CLASSES:
        held = sum(corpus.utterances[i].emotion == emotion for i in validation)
        assert 1 <= held < counts[emotion]
        assert abs(held - share * counts[emotion]) <= 1


@given(st.integers(1, 30), st.integers(1, 40))
def test_spread_takes_that_many_different_folds_in_order(available: int, count: int) -> None:
    made = [Fold(f"{i:02d}", (), (), ()) for i in range(available)]
    chosen = [fold.name for fold in spread(made, count)]
    assert len(chosen) == min(count, available)
    assert chosen == sorted(set(chosen))
    gaps = np.diff([*(int(name) for name in chosen), available + int(chosen[0])])
    assert gaps.max() - gaps.min() <= 1
