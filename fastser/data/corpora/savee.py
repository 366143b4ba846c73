"""SAVEE (Haq and Jackson 2010): `DC_a01.wav` or `DC/a01.wav` is speaker DC, a(nger), sentence 01.

All speakers say the same sentences. They are numbered anew for each emotion, so the code of the emotion and the number
together name the text.
"""

import re
from pathlib import Path

from .base import Corpus, CorpusError, Utterance
from .expected import ExpectedCounts
from .files import audio_files, is_synthetic, require_folder, titled

_EMOTION = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}

EXPECTED = ExpectedCounts.by_emotion(
    {emotion: 120 if emotion == "neutral" else 60 for emotion in sorted(_EMOTION.values())},
    source="SAVEE's published counts",
    speakers=4,
)

_ID = re.compile(r"(?P<speaker>DC|JE|JK|KL)_(?P<text>(?P<code>sa|su|[adfhn])\d\d)", re.ASCII)


def read(path: Path) -> Corpus:
    """Read all recordings below a folder, in one folder for each speaker or with the speaker in the file name.

    Raises:
        CorpusError: If there is no recording.
    """
    require_folder(path, "SAVEE")
    utterances = tuple(
        Utterance(match[0], file, match["speaker"], _EMOTION[match["code"]], text=match["text"])
        for file in audio_files(path.resolve())
        if (match := _ID.fullmatch(file.stem) or _ID.fullmatch(f"{file.parent.name}_{file.stem}"))
    )
    if not utterances:
        raise CorpusError(
            f"{path}: holds no SAVEE recording; give a folder above DC_a01.wav or DC/a01.wav and so on (or .flac)"
        )
    synthetic = is_synthetic(path)
    return Corpus("savee", titled("SAVEE", synthetic), path, utterances, expected=EXPECTED, synthetic=synthetic)
