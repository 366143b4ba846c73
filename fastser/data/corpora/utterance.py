"""The record of one utterance, and the error for unusable data."""

from dataclasses import dataclass
from pathlib import Path


class CorpusError(ValueError):
    """Unusable data. The message names the file, the folder or the line of the label file."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled recording.

    Attributes:
        id: Name that is unique in the corpus and independent of the corpus's place on disk.
        path: Audio file.
        speaker: Name of the speaker, unique in the corpus.
        emotion: Label under its canonical name, such as "angry".
        session: Recording session that pairs speakers, or None where the corpus has no sessions.
        split: "train", "validation" or "test" where the corpus comes with a split, else None.
    """

    id: str
    path: Path
    speaker: str
    emotion: str
    session: str | None = None
    split: str | None = None
