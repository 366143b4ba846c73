"""Folds and the cross-corpus split."""

from collections import Counter
from pathlib import Path

import pytest

from fastser.data.corpora import Corpus, CorpusError, Utterance
from fastser.experiment.fold_warnings import fold_warnings
from fastser.experiment.folds import (
    cross_corpus_split,
    folds,
    has_own_split,
    paired_speakers,
    spread,
    validation_speakers,
)
from fastser.settings import PAPER, PAPER_CLASSES


def corpus(speakers: dict[str, str | None], per_class: int = 2, splits: dict[str, str] | None = None) -> Corpus:
    """Make a corpus of invented utterances. `speakers` maps each speaker to a session."""
    utterances = tuple(
        Utterance(f"{speaker}-{emotion}-{i}", Path("none"), speaker, emotion, session, (splits or {}).get(speaker))
        for speaker, session in speakers.items()
        for emotion in PAPER_CLASSES
        for i in range(per_class)
    )
    return Corpus("made-up", "Made-up", Path("none"), utterances, PAPER_CLASSES)


def test_the_validation_speaker_is_the_other_speaker_of_the_session() -> None:
    made = corpus({"1F": "1", "1M": "1", "2F": "2", "2M": "2"})
    assert paired_speakers(made.utterances) == {"1F": "1M", "1M": "1F", "2F": "2M", "2M": "2F"}


def test_the_last_speaker_of_a_session_is_validated_on_the_first() -> None:
    made = corpus({"a": "1", "b": "1", "c": "1"})
    assert paired_speakers(made.utterances) == {"a": "b", "b": "c", "c": "a"}


@pytest.mark.parametrize(
    ("speakers", "pairs"),
    [
        ("abcd", {"a": "b", "b": "a", "c": "d", "d": "c"}),
        ("abcde", {"a": "b", "b": "a", "c": "d", "d": "c", "e": "d"}),
        ("abc", {"a": "b", "b": "a", "c": "b"}),
    ],
)
def test_without_sessions_sorted_speakers_are_paired(speakers: str, pairs: dict[str, str]) -> None:
    assert paired_speakers(corpus(dict.fromkeys(speakers)).utterances) == pairs


def test_a_speaker_alone_in_a_session_leaves_the_other_sessions_as_they_are() -> None:
    one_missing = corpus({"1M": "1", "2F": "2", "2M": "2", "3F": "3", "3M": "3"})
    assert paired_speakers(one_missing.utterances) == {"1M": "3M", "2F": "2M", "2M": "2F", "3F": "3M", "3M": "3F"}
    two_missing = corpus({"1M": "1", "2F": "2", "3F": "3", "3M": "3"})
    assert paired_speakers(two_missing.utterances) == {"1M": "2F", "2F": "1M", "3F": "3M", "3M": "3F"}


def test_a_speaker_of_two_sessions_has_one_partner_in_any_order_of_utterances() -> None:
    made = corpus({"a": "1", "b": "1", "c": "2"}).utterances
    both = [*made, Utterance("a-again", Path("none"), "a", "sad", "2")]
    assert paired_speakers(both) == paired_speakers(both[::-1]) == {"a": "c", "b": "a", "c": "a"}


def lacking(made: Corpus, speaker: str, *emotions: str) -> Corpus:
    """Return a corpus without the utterances of a speaker that have one of the emotions."""
    kept = tuple(u for u in made.utterances if u.speaker != speaker or u.emotion not in emotions)
    return Corpus("made-up", "Made-up", Path("none"), kept, PAPER_CLASSES)


SESSIONS = {"1F": "1", "1M": "1", "2F": "2", "2M": "2"}


def test_complete_speakers_are_validated_on_by_the_papers_rule() -> None:
    made = corpus(SESSIONS)
    assert validation_speakers(made, 8) == {name: (pair,) for name, pair in paired_speakers(made.utterances).items()}


def test_a_validation_speaker_without_a_class_is_replaced_by_the_next_complete_one() -> None:
    made = lacking(corpus(SESSIONS), "1M", "sad")
    assert validation_speakers(made, 1) == {"1F": ("2F",), "1M": ("1F",), "2F": ("2M",), "2M": ("2F",)}


def test_a_small_validation_speaker_is_replaced_by_a_larger_one_of_the_session_first() -> None:
    made = corpus({"a": "1", "b": "1", "c": "1", "d": "2", "e": "2"}, per_class=3)
    few = tuple(u for u in made.utterances if u.speaker != "b" or u.id.endswith("-0"))
    small = Corpus("made-up", "Made-up", Path("none"), few, PAPER_CLASSES)
    assert validation_speakers(small, 5)["a"] == ("c",)
    assert validation_speakers(small, 4)["a"] == ("b",)


def test_speakers_are_added_where_none_is_enough_alone() -> None:
    assert validation_speakers(corpus(dict.fromkeys("abcde")), 10)["a"] == ("b", "c")
    assert validation_speakers(corpus(dict.fromkeys("abcd")), 10)["a"] == ("b",)


def test_no_validation_set_takes_the_last_utterances_of_a_class_from_the_training_set() -> None:
    made = corpus(dict.fromkeys("abcd"))
    for speaker in "bd":
        made = lacking(made, speaker, "sad")
    assert validation_speakers(made, 1)["a"] == ("b",)


@pytest.mark.fast
def test_folds_divide_the_corpus_by_speaker() -> None:
    made = corpus({"1F": "1", "1M": "1", "2F": "2", "2M": "2"})
    for fold in folds(made):
        parts = [{made.utterances[i].speaker for i in part} for part in (fold.train, fold.validation, fold.test)]
        assert parts[2] == {fold.name}
        assert len(parts[0]) == 2
        assert sum(map(len, parts)) == len(set().union(*parts)) == 4
        assert sorted(fold.train + fold.validation + fold.test) == list(range(len(made.utterances)))


def test_a_corpus_with_its_own_split_has_one_fold() -> None:
    made = corpus({"a": None, "b": None, "c": None}, splits={"a": "train", "b": "validation", "c": "test"})
    (fold,) = folds(made)
    assert fold.name == "split"
    assert {made.utterances[i].speaker for i in fold.test} == {"c"}


def test_two_speakers_are_refused() -> None:
    with pytest.raises(CorpusError, match=r"Made-up: .* at least 3 speakers .* found 2"):
        folds(corpus({"a": None, "b": None}))


def test_a_split_without_one_of_its_parts_is_refused() -> None:
    made = corpus({"a": None, "b": None}, splits={"a": "train", "b": "test"})
    with pytest.raises(CorpusError, match="Made-up: its own split has no 'validation' utterance"):
        folds(made)


def test_a_class_with_one_utterance_cannot_be_divided() -> None:
    with pytest.raises(CorpusError, match="Made-up: the cross-corpus split needs two 'angry' utterances, found 1"):
        cross_corpus_split(corpus({"a": None}, per_class=1), 0.3, seed=0)


def test_a_training_part_without_a_class_is_named() -> None:
    made = corpus({"a": None, "b": None, "c": None})
    only_a_is_sad = tuple(u for u in made.utterances if u.emotion != "sad" or u.speaker == "a")
    with pytest.raises(CorpusError, match="Made-up: the training part of fold a has no 'sad' utterance"):
        folds(Corpus("made-up", "Made-up", Path("none"), only_a_is_sad, PAPER_CLASSES))


def test_a_selection_of_folds_is_evenly_spaced() -> None:
    made = folds(corpus({f"{i}": None for i in range(10)}))
    assert [f.name for f in spread(made, 2)] == ["0", "5"]
    assert spread(made, None) == made
    assert spread(made, 99) == made


@pytest.mark.fast
def test_the_cross_corpus_split_is_stratified_and_seeded() -> None:
    made = corpus({"a": None, "b": None, "c": None}, per_class=10)
    validation, test = cross_corpus_split(made, 0.3, seed=1)
    assert sorted(validation + test) == list(range(len(made.utterances)))
    assert Counter(made.utterances[i].emotion for i in validation) == dict.fromkeys(PAPER_CLASSES, 9)
    assert cross_corpus_split(made, 0.3, seed=1) == (validation, test)
    assert cross_corpus_split(made, 0.3, seed=2) != (validation, test)


def test_validation_sets_are_warned_of_only_where_they_choose_an_epoch() -> None:
    splits = {"a": "train", "b": "validation", "c": "test"}
    made = lacking(corpus(dict.fromkeys(splits), splits=splits), "b", "sad")
    settings = PAPER.override(["protocol.min_validation_utterances=7"])
    assert fold_warnings(made, folds(made), settings) == [
        "Made-up: 1 of 1 validation set lacks a class: fold split (sad); it may choose a bad epoch",
        "Made-up: 1 of 1 validation set has fewer than 7 utterances: fold split (6); it may choose a bad epoch",
    ]
    assert fold_warnings(made, folds(made), settings.override(["training.schedule=cosine"])) == []


def test_an_own_split_has_a_test_set_and_no_test_speaker() -> None:
    splits = {"a": "train", "b": "validation", "c": "test", "d": "test"}
    made = lacking(lacking(corpus(dict.fromkeys(splits), splits=splits), "c", "sad"), "d", "sad")
    assert fold_warnings(made, folds(made), PAPER.override(["protocol.min_validation_utterances=1"])) == [
        "Made-up: 1 of 1 test set lacks a class: split (sad); the UAR of its fold is the mean recall of the other "
        "classes",
    ]


@pytest.mark.fast
def test_a_corpus_without_utterances_has_no_split_of_its_own() -> None:
    empty = corpus({})
    assert not has_own_split(empty)
    with pytest.raises(CorpusError, match=r"needs at least 3 speakers .*, found 0"):
        folds(empty)


def test_one_fold_is_spoken_of_in_the_singular() -> None:
    made = lacking(corpus(SESSIONS), "1M", "sad")
    assert fold_warnings(made, folds(made), PAPER.override(["training.schedule=cosine"])) == [
        "Made-up: 1 of 4 test speakers lacks a class: 1M (sad); the UAR of its fold is the mean recall of the other "
        "classes",
        "Made-up: 1 of 4 folds is validated on other speakers than the paper's rule gives, because the rule's "
        "speaker lacks a class or has fewer than 10 utterances: 1F (on 2F, not 1M alone)",
    ]
