"""Leakage between the training and the test side of a split: speakers, audio, texts.

A known case are published folds of EMO-DB in which all ten speakers are on both sides. A score on such a split says
nothing about new speakers.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from fastser.data.corpora.base import Corpus
from fastser.data.corpora.texts import comparable_texts, shared_texts
from fastser.data.packed_audio import PackedWaveforms

Severity = Literal["error", "warning", "note"]

_SHOWN = 3
_SHOWN_OF_TEXT = 40
"""Number of characters of a text that are shown."""

_TRIM_DB = -40.0
_PARTS = 64

SAME_ENVELOPE = 0.9995
"""Cosine of two envelopes above which recordings are compared sample by sample."""

SAME_SHAPE = 0.99
"""Correlation coefficient above which two recordings are the same audio."""


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

    Envelopes that agree select pairs, and the largest correlation over all shifts decides.
    """
    envelopes = [(i, envelope) for i in seen if (envelope := envelope_of(waveforms[i])) is not None]
    found = []
    for i in tested:
        own = envelope_of(waveforms[i])
        if own is None or not envelopes:
            continue
        cosines = np.stack([envelope for _, envelope in envelopes]) @ own
        near = (envelopes[place][0] for place in np.flatnonzero(cosines > SAME_ENVELOPE))
        if (owner := next((j for j in near if correlation(waveforms[i], waveforms[j]) > SAME_SHAPE), None)) is not None:
            found.append(f"{names[i]} = {names[owner]}")
    return found


def envelope_of(samples: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Return the level in equal parts of the utterance without its quiet ends, at norm 1, or None for silence."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0:
        return None
    loud = np.flatnonzero(np.abs(samples) > peak * 10 ** (_TRIM_DB / 20))
    power = np.square(samples[loud[0] : loud[-1] + 1], dtype=np.float64)
    edges = np.linspace(0, len(power), _PARTS + 1).astype(int)[:-1]
    sums = np.sqrt(np.add.reduceat(power, np.minimum(edges, len(power) - 1)))
    envelope: NDArray[np.float64] = sums / np.linalg.norm(sums)
    return envelope


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the largest correlation coefficient over all shifts."""
    products = scipy.signal.correlate(a.astype(np.float64), b.astype(np.float64), method="fft")
    return float(np.abs(products).max() / (np.linalg.norm(a) * np.linalg.norm(b)))


def _few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
