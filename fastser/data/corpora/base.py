"""What a corpus is: utterances with a speaker and one of four emotions; and what noise is: recordings by scene."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAPER_CLASSES = ("angry", "happy", "neutral", "sad")
"""The four classes of the paper (section 4.1), in the order of every label index and posterior column."""

AUDIO_SUFFIXES = (".wav", ".flac")
"""Endings under which every reader looks for audio, in order of preference."""


class CorpusError(ValueError):
    """Unusable data: one sentence that names the file, folder or label line."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled recording.

    Attributes:
        id: Name that is unique in the corpus and does not depend on where the corpus lies.
        path: Audio file.
        speaker: The person who speaks, unique in the corpus.
        emotion: One of `PAPER_CLASSES`.
        session: Recording session that pairs speakers, or None where the corpus has none.
        split: "train", "validation" or "test" where the corpus fixes its own split, else None.
    """

    id: str
    path: Path
    speaker: str
    emotion: str
    session: str | None = None
    split: str | None = None

    @property
    def label(self) -> int:
        """Index of the emotion in `PAPER_CLASSES`."""
        return PAPER_CLASSES.index(self.emotion)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A speech corpus as a reader found it on disk.

    Attributes:
        name: The reader's name ("iemocap"), which the command line uses.
        title: The name as people write it ("IEMOCAP").
        utterances: Sorted by id; only the four classes, only those whose audio exists.
        complete: True or False where the reader knows the counts of the whole corpus, None where nobody can know.
        summary: One line: how many utterances, and whether the copy is complete.
        warnings: One sentence each for what is missing or odd.
        synthetic: True for the generated stand-ins; whatever is made from them says so.
    """

    name: str
    title: str
    utterances: tuple[Utterance, ...]
    complete: bool | None
    summary: str
    warnings: tuple[str, ...] = ()
    synthetic: bool = False

    @property
    def speakers(self) -> tuple[str, ...]:
        """All speakers, sorted."""
        return tuple(sorted({u.speaker for u in self.utterances}))

    def class_counts(self) -> Counter[str]:
        """Number of utterances of each emotion."""
        return Counter(u.emotion for u in self.utterances)


@dataclass(frozen=True, slots=True)
class NoiseRecording:
    """One noise file and the scene it was recorded in ("kitchen")."""

    scene: str
    path: Path


@dataclass(frozen=True, slots=True)
class NoiseCorpus:
    """Noise recordings by scene; fields as in `Corpus`."""

    name: str
    title: str
    recordings: tuple[NoiseRecording, ...]
    summary: str
    warnings: tuple[str, ...] = ()
    synthetic: bool = False

    @property
    def scenes(self) -> tuple[str, ...]:
        """All scenes, sorted."""
        return tuple(sorted({r.scene for r in self.recordings}))


@dataclass(frozen=True, slots=True)
class ExpectedCounts:
    """The published number of utterances in each group of a complete copy (a class, or a speaker and a class)."""

    groups: Mapping[str, int]
    source: str

    @property
    def total(self) -> int:
        """Utterances of a complete copy."""
        return sum(self.groups.values())

    def missing(self, found: Mapping[str, int]) -> Sequence[str]:
        """One phrase for every group whose count differs, such as "sad: 60 of 62"."""
        return [f"{g}: {found.get(g, 0)} of {n}" for g, n in self.groups.items() if found.get(g, 0) != n]
