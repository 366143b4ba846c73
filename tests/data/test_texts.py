"""Comparison of spoken texts."""

from pathlib import Path

import pytest

from fastser.data.corpora import Utterance
from fastser.data.corpora.texts import comparable_texts, normal_text, shared_texts

pytestmark = pytest.mark.fast


def spoken(*texts: str | None) -> list[Utterance]:
    return [Utterance(str(i), Path(f"{i}.wav"), "ann", "sad", text=text) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Oh my God, he\N{RIGHT SINGLE QUOTATION MARK}s here!", "oh my god he's   here"),
        ("my company\x92s\x85 isn\u02bct it", "My com\xadpany's... isn\u2018t it?"),
        ("[LAUGHTER] I don't KNOW -- do you?", "I dont know, do you"),
        ("STRASSE", "stra\xdfe"),
        ("Cafe\u0301", "CAF\xc9"),
    ],
)
def test_spellings_of_one_text(one: str, other: str) -> None:
    first, second = comparable_texts(spoken(one, other))
    assert first == second == normal_text(other)


def test_vowel_signs_tell_texts_apart() -> None:
    assert normal_text("\u0915\u093f") != normal_text("\u0915\u0940")


def test_only_sentences_count_where_there_are_sentences() -> None:
    texts = comparable_texts(spoken("Yeah.", "What do you mean?", None, "yeah", "what do YOU mean"))
    assert texts == ["", "what do you mean", None, "", "what do you mean"]
    assert shared_texts(texts, [0, 1, 2], [2, 3, 4]) == ["what do you mean"]


def test_sentences_without_spaces_count_by_their_letters() -> None:
    long, short = "\u6211\u4e0d\u77e5\u9053\u4f60\u8aaa\u4ec0\u9ebc", "\u597d\u7684"
    assert comparable_texts(spoken(long, short)) == [long, ""]


def test_names_of_texts_all_count() -> None:
    texts = comparable_texts(spoken("a01", "DFA", None, "dfa"))
    assert texts == ["a01", "dfa", None, "dfa"]
    assert shared_texts(texts, [0, 1], [2, 3]) == ["dfa"]
