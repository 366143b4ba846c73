"""Folds, the cross-corpus split and the grid."""

from collections import Counter
from pathlib import Path

import pytest

from fastser.data.corpora.base import PAPER_CLASSES, Corpus, CorpusError, Utterance
from fastser.experiment.grid import (
    AUGMENTATIONS,
    MODELS,
    TABLES,
    GridPoint,
    conditions,
    cross_corpus_split,
    folds,
    plan,
    spread,
    validation_speakers,
)
from fastser.settings import PAPER, QUICK


def corpus(speakers: dict[str, str | None], per_class: int = 2, splits: dict[str, str] | None = None) -> Corpus:
    """A corpus of made-up utterances; `speakers` maps each one to its session."""
    utterances = tuple(
        Utterance(f"{speaker}-{emotion}-{i}", Path("none"), speaker, emotion, session, (splits or {}).get(speaker))
        for speaker, session in speakers.items()
        for emotion in PAPER_CLASSES
        for i in range(per_class)
    )
    return Corpus("made-up", "Made-up", utterances, None, "")


def test_validation_speaker_is_the_other_one_of_the_session() -> None:
    made = corpus({"1F": "1", "1M": "1", "2F": "2", "2M": "2"})
    assert validation_speakers(made.utterances) == {"1F": "1M", "1M": "1F", "2F": "2M", "2M": "2F"}


def test_session_of_three_goes_round() -> None:
    made = corpus({"a": "1", "b": "1", "c": "1"})
    assert validation_speakers(made.utterances) == {"a": "b", "b": "c", "c": "a"}


@pytest.mark.parametrize(
    ("speakers", "pairs"),
    [
        ("abcd", {"a": "b", "b": "a", "c": "d", "d": "c"}),
        ("abcde", {"a": "b", "b": "a", "c": "d", "d": "c", "e": "d"}),
        ("abc", {"a": "b", "b": "a", "c": "b"}),
    ],
)
def test_without_sessions_sorted_speakers_are_paired(speakers: str, pairs: dict[str, str]) -> None:
    assert validation_speakers(corpus(dict.fromkeys(speakers)).utterances) == pairs


def test_a_speaker_alone_in_a_session_leaves_the_other_sessions_as_they_are() -> None:
    one_missing = corpus({"1M": "1", "2F": "2", "2M": "2", "3F": "3", "3M": "3"})
    assert validation_speakers(one_missing.utterances) == {"1M": "3M", "2F": "2M", "2M": "2F", "3F": "3M", "3M": "3F"}
    two_missing = corpus({"1M": "1", "2F": "2", "3F": "3", "3M": "3"})
    assert validation_speakers(two_missing.utterances) == {"1M": "2F", "2F": "1M", "3F": "3M", "3M": "3F"}


def test_a_speaker_of_two_sessions_has_one_partner_in_any_order_of_utterances() -> None:
    made = corpus({"a": "1", "b": "1", "c": "2"}).utterances
    both = [*made, Utterance("a-again", Path("none"), "a", "sad", "2")]
    assert validation_speakers(both) == validation_speakers(both[::-1]) == {"a": "c", "b": "a", "c": "a"}


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


def test_a_training_part_without_a_class_is_named() -> None:
    made = corpus({"a": None, "b": None, "c": None})
    only_a_is_sad = tuple(u for u in made.utterances if u.emotion != "sad" or u.speaker == "a")
    with pytest.raises(CorpusError, match="Made-up: the training part of fold a has no 'sad' utterance"):
        folds(Corpus("made-up", "Made-up", only_a_is_sad, None, ""))


def test_spread_takes_folds_from_everywhere() -> None:
    made = folds(corpus({f"{i}": None for i in range(10)}))
    assert [f.name for f in spread(made, 2)] == ["0", "5"]
    assert spread(made, None) == made
    assert spread(made, 99) == made


def test_cross_corpus_split_is_stratified_and_seeded() -> None:
    made = corpus({"a": None, "b": None, "c": None}, per_class=10)
    validation, test = cross_corpus_split(made, 0.3, seed=1)
    assert sorted(validation + test) == list(range(len(made.utterances)))
    assert Counter(made.utterances[i].emotion for i in validation) == dict.fromkeys(PAPER_CLASSES, 9)
    assert cross_corpus_split(made, 0.3, seed=1) == (validation, test)
    assert cross_corpus_split(made, 0.3, seed=2) != (validation, test)


def test_the_paper_s_grid() -> None:
    """2,000 trainings on the source, 5 x 12 x 10 on the target, 20 x 10 across corpora."""
    names = {"source": [f"s{i}" for i in range(10)], "target": [f"t{i}" for i in range(12)], "cross": ["all"]}
    cells = plan(TABLES, names, list(MODELS), AUGMENTATIONS, PAPER.protocol.repeats)
    assert Counter(cell.task for cell in cells) == {"source": 2000, "target": 600, "cross": 200}
    assert len(set(cells)) == len(cells)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("table1", {"source": 5 * 2, "target": 5 * 3}),
        ("table2", {"source": 20 * 2}),
        ("table3", {"source": 20 * 2}),
        ("table4", {"cross": 4}),
        ("figure2", {"cross": 20}),
    ],
)
def test_each_table_has_no_more_trainings_than_it_needs(table: str, expected: dict[str, int]) -> None:
    names = {"source": ["a", "b"], "target": ["c", "d", "e"], "cross": ["all"]}
    cells = plan([table], names, list(MODELS), AUGMENTATIONS, 1)
    assert Counter(cell.task for cell in cells) == expected


def test_a_missing_corpus_leaves_its_task_out() -> None:
    cells = plan(TABLES, {"source": ["a"]}, ["cnn"], ["none"], 1)
    assert cells == (GridPoint("source", "cnn", "none", "a", 1),)


def test_conditions_of_the_source_cover_tables_one_to_three() -> None:
    names = conditions("source", QUICK)
    assert names[:4] == ("clean", "noise-0db", "noise-10db", "noise-20db")
    assert names[-2:] == ("fgsm", "bim")
    assert len(names) == 1 + 3 + 5 * 3 + 2
    assert conditions("target", QUICK) == ("clean",)
    assert conditions("cross", QUICK) == ("cross-corpus",)
