"""Audio that occurs more than once: equal files, equal samples, and copies at another level, length or sample rate."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastser.data.audio import decode
from fastser.data.copies import is_copy, likely_copies
from fastser.data.examination.files import ExaminedFile, Sound

Kind = Literal["file", "samples", "copy"]

_RATE = 16_000
"""Sample rate in hertz at which recordings are compared."""

_KEPT = 4
"""Decoded recordings that are kept for the next comparison."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files with the same audio.

    Attributes:
        first: Index of one file.
        second: Index of the other file, which is larger.
        kind: "file" for equal bytes, "samples" for equal samples between pauses of digital silence, "copy" for audio of
            one shape at another level, rounding, sample rate, or with other pauses at the ends.
    """

    first: int
    second: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class SameAudio:
    """Files of a list with the same audio.

    Attributes:
        pairs: Pairs. A file with several copies is paired with the first of them only.
        group: Number of each file's audio: files with the same audio have the same number.
    """

    pairs: tuple[Pair, ...]
    group: tuple[int, ...]


def same_audio(files: Sequence[ExaminedFile]) -> SameAudio:
    """Find audio that occurs more than once.

    Equal digests give equal files and samples. Envelopes and spectra that agree select further pairs, whose correlation
    decides.
    """
    group = list(range(len(files)))
    pairs: list[Pair] = []

    def join(first: int, second: int, kind: Kind) -> None:
        """Join the groups of two files. The smaller number stays."""
        low, high = sorted((group[first], group[second]))
        group[:] = [low if number == high else number for number in group]
        pairs.append(Pair(first, second, kind))

    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for i, file in enumerate(files):
        if isinstance(file.sound, Sound):
            by_digest[file.sound.digest].append(i)
    for first, *others in by_digest.values():
        for other in others:
            join(first, other, "file" if files[first].digest == files[other].digest else "samples")

    different = [members[0] for members in by_digest.values()]

    def waveform(place: int) -> NDArray[np.float32]:
        return decode(files[different[place]].path, _RATE)

    kept = lru_cache(maxsize=_KEPT)(waveform)
    envelopes = [sound.envelope for i in different if isinstance(sound := files[i].sound, Sound)]
    for a, b in likely_copies(np.array(envelopes), waveform):
        first, second = different[a], different[b]
        if group[first] != group[second] and is_copy(kept(a), kept(b)):
            join(first, second, "copy")
    return SameAudio(tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second))), tuple(group))
