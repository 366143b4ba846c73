"""The record of one utterance, and the error for unusable data."""

from dataclasses import dataclass
from pathlib import Path

from fastser.runtime.errors import UserError
from fastser.runtime.files import storable

from .names import plain_name


class CorpusError(UserError, ValueError):
    """Unusable data. The message names the file, the folder or the line of the label file."""

    def __init__(self, message: str) -> None:
        super().__init__(storable(message))


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled recording.

    Speaker, emotion and session are kept in the one spelling that `plain_name` gives, so that two spellings of a name
    in Unicode are one speaker.

    Attributes:
        id: Name that is unique in the corpus and independent of the corpus's place on disk.
        path: Audio file.
        speaker: Name of the speaker, unique in the corpus.
        emotion: Label under its canonical name, such as "angry".
        session: Recording session that pairs speakers, or None where the corpus has no sessions.
        split: "train", "validation" or "test" where the corpus comes with a split, else None.
        text: Text that is spoken, or a name of it, or None where it is not known. No result depends on it.
    """

    id: str
    path: Path
    speaker: str
    emotion: str
    session: str | None = None
    split: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", storable(self.id))
        object.__setattr__(self, "speaker", plain_name(self.speaker))
        object.__setattr__(self, "emotion", plain_name(self.emotion))
        if self.session is not None:
            object.__setattr__(self, "session", plain_name(self.session))
        if self.text is not None:
            object.__setattr__(self, "text", " ".join(self.text.split()) or None)  # signs stay, for `normal_text`
