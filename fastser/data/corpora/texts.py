"""Spoken texts of utterances in a form in which they can be compared."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from .utterance import Utterance

_MIN_WORDS = 4
"""Number of words from which a text counts. Shorter ones, such as "yeah" and "oh my god", are common to all talk."""

_LETTERS_OF_A_WORD = 2
"""Letters of a word in Chinese and Japanese, which are written without spaces."""

_NOT_SPOKEN = re.compile(r"\[[^\]]*\]")
"""Remarks of transcribers, such as [LAUGHTER]."""

_APOSTROPHES = re.compile("['\u2018\u2019\u02bc\uff07\x92]")
"""Apostrophes: also the left quotation mark, the modifier letter and the wide one.

U+0092 is that of Windows-1252 in a text that was converted as Latin-1, as in the tables of MELD.
"""

_OF_WORDS = "LMN"
"""First letter of the Unicode categories of letters, of marks (such as the vowel signs of Hindi) and of numbers."""


def normal_text(text: str) -> str:
    """Return a text without case, punctuation, signs without a shape and remarks in brackets, with single spaces.

    Example:
        >>> normal_text("I don't know... [LAUGHTER]  Who KNOWS?")
        'i dont know who knows'
    """
    spoken = _APOSTROPHES.sub("", _NOT_SPOKEN.sub(" ", text))
    folded = unicodedata.normalize("NFKC", spoken).casefold()
    return " ".join("".join(map(_of_word, folded)).split())


def comparable_texts(utterances: Iterable[Utterance]) -> list[str | None]:
    """Return the normal text of each utterance, empty if it is too short to count, or None where it is not known.

    If no text of the utterances has `_MIN_WORDS` words, the texts are names of sentences, such as "a01", and all count.
    """
    texts = [None if utterance.text is None else normal_text(utterance.text) for utterance in utterances]
    sentences = {text for text in texts if text is not None and _is_sentence(text)}
    if not sentences:
        return texts
    return [text if text is None or text in sentences else "" for text in texts]


def shared_texts(texts: Sequence[str | None], seen: Iterable[int], tested: Iterable[int]) -> list[str]:
    """Return the different texts that are spoken on both sides of a split, sorted.

    Args:
        texts: Text of each utterance, as `comparable_texts` returns it.
        seen: Indices of the utterances for training and validation.
        tested: Indices of the utterances for the test.
    """
    return sorted(text for text in {texts[i] for i in seen} & {texts[i] for i in tested} if text)


def _of_word(sign: str) -> str:
    """Return a sign of a word, nothing for a sign without a shape, such as a soft hyphen, and a space for others."""
    category = unicodedata.category(sign)
    return sign if category[0] in _OF_WORDS else "" if category == "Cf" else " "


def _is_sentence(text: str) -> bool:
    wide = sum(unicodedata.east_asian_width(letter) == "W" for letter in text)
    return max(len(text.split()), wide // _LETTERS_OF_A_WORD) >= _MIN_WORDS
