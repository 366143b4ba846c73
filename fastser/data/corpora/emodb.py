"""EMO-DB (Burkhardt et al. 2005): `wav/03a01Fa.wav` is speaker 03, text a01, F(reude), version a."""

import re
from pathlib import Path

from .base import Corpus, ExpectedCounts, Utterance
from .checked import checked_corpus
from .files import audio_files, is_synthetic, require_folder

_EMOTION = {"W": "angry", "F": "happy", "N": "neutral", "T": "sad"}
"""Wut, Freude, neutral, Trauer; boredom, disgust and fear (L, E, A) are left out."""

EXPECTED = ExpectedCounts(
    {"angry": 127, "happy": 71, "neutral": 79, "sad": 62},
    source="EMO-DB's 339 utterances of four classes",
)

_NAME = re.compile(r"(?P<speaker>\d\d)[ab]\d\d(?P<letter>[WFNT])[a-z]?", re.ASCII)


def read(path: Path) -> Corpus:
    """Read the folder of recordings, or the one whose `wav` sub-folder they are in.

    Raises:
        CorpusError: If no utterance is found.
    """
    require_folder(path, "EMO-DB")
    recordings = path / "wav" if (path / "wav").is_dir() else path
    utterances = [
        Utterance(file.stem, file, match["speaker"], _EMOTION[match["letter"]])
        for file in audio_files(recordings)
        if (match := _NAME.fullmatch(file.stem))
    ]
    return checked_corpus("emodb", "EMO-DB", path, utterances, expected=EXPECTED, synthetic=is_synthetic(path))
