"""Leakage between the training and the test side of a split: speakers, audio, texts.

A known case are published folds of EMO-DB in which all ten speakers are on both sides. A score on such a split says
nothing about new speakers.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastser.data.copies import is_copy, likely_copies
from fastser.data.corpora.base import Corpus
from fastser.data.corpora.texts import comparable_texts, shared_texts
from fastser.data.fingerprints import envelope_of
from fastser.data.packed_audio import PackedWaveforms

Severity = Literal["error", "warning", "note"]

_SHOWN = 3
_SHOWN_OF_TEXT = 40
"""Number of characters of a text that are shown."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One kind of leakage.

    Attributes:
        severity: An error unless the user accepts it, a warning, or a note.
        sentence: Numbers and names.
    """

    severity: Severity
    sentence: str


def leaks(
    corpus: Corpus,
    waveforms: PackedWaveforms,
    seen: Sequence[int],
    tested: Sequence[int],
) -> list[Leak]:
    """Return everything that both sides of a split share, the most serious first.

    Args:
        corpus: The corpus.
        waveforms: Its samples.
        seen: Utterances for training and validation.
        tested: Utterances for the test.
    """
    utterances = corpus.utterances
    found = []
    shared = sorted({utterances[i].speaker for i in seen} & {utterances[i].speaker for i in tested})
    if shared:
        everybody = len({utterances[i].speaker for i in tested})
        found.append(
            Leak(
                "error",
                f"{len(shared)} of {everybody} test speakers are in the training data too ({_few(shared)}): the result "
                "says nothing about new speakers",
            )
        )
    names = [utterance.id for utterance in utterances]
    same = _pairs(lambda i: _digest(waveforms[i]), names, seen, tested)
    if same:
        found.append(Leak("error", f"{len(same)} test utterances have the audio of training utterances ({_few(same)})"))
    alike = [pair for pair in _alike(waveforms, names, seen, tested) if pair not in same]
    if alike:
        found.append(
            Leak(
                "warning",
                f"{len(alike)} test utterances have the audio of training utterances at another level or with other "
                f"pauses at the ends ({_few(alike)})",
            )
        )
    if spoken := shared_texts(comparable_texts(utterances), seen, tested):
        are = "text is" if len(spoken) == 1 else "texts are"
        shown = _few([f"'{text[:_SHOWN_OF_TEXT]}{'...' if text[_SHOWN_OF_TEXT:] else ''}'" for text in spoken])
        found.append(Leak("note", f"{len(spoken)} {are} spoken on both sides ({shown})"))
    return found


def _pairs(
    key: Callable[[int], bytes | None], names: Sequence[str], seen: Sequence[int], tested: Sequence[int]
) -> list[str]:
    """Return "test = training" for each test utterance whose key a training utterance has."""
    owners: dict[bytes, str] = {}
    for i in seen:
        if (digest := key(i)) is not None:
            owners.setdefault(digest, names[i])
    return [f"{names[i]} = {owners[digest]}" for i in tested if (digest := key(i)) is not None and digest in owners]


def _digest(samples: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).digest()


def _alike(waveforms: PackedWaveforms, names: Sequence[str], seen: Sequence[int], tested: Sequence[int]) -> list[str]:
    """Return "test = training" for utterances of one shape, whatever their level, rounding and pauses at the ends.

    See `fastser.data.copies` for the rules.
    """
    described = [
        (side, i, envelope)
        for side, of in enumerate((seen, tested))
        for i in of
        if (envelope := envelope_of(waveforms[i])) is not None
    ]
    sides, indices, envelopes = zip(*described, strict=True) if described else ((), (), ())
    owners: dict[int, int] = {}
    for a, b in likely_copies(np.array(envelopes), lambda place: waveforms[indices[place]]):
        owner, own = indices[a], indices[b]
        if sides[a] < sides[b] and own not in owners and is_copy(waveforms[own], waveforms[owner]):
            owners[own] = owner
    return [f"{names[own]} = {names[owners[own]]}" for own in tested if own in owners]


def _few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
