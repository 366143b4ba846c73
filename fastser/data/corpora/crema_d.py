"""CREMA-D (Cao et al. 2014): `1001_DFA_ANG_XX.wav` is actor 1001, sentence DFA, emotion ANG, intensity XX.

The label is the emotion that the actor was asked for.
"""

import re
from pathlib import Path

from .base import Corpus, CorpusError, Utterance
from .expected import ExpectedCounts
from .files import audio_files, is_synthetic, require_folder, titled

_EMOTION = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}

EXPECTED = ExpectedCounts.by_emotion(
    {"angry": 1271, "disgust": 1271, "fearful": 1271, "happy": 1271, "neutral": 1087, "sad": 1270},
    source="CREMA-D's published counts (without a silent file)",
    speakers=91,
)

_NAME = re.compile(r"(?P<speaker>\d{4})_(?P<text>[A-Z]{3})_(?P<code>[A-Z]{3})_[A-Z]{1,2}", re.ASCII)
"""The intensity is LO, MD, HI or XX. One published file has X: 1040_ITH_SAD_X."""

_SILENT = "1076_MTI_SAD_XX"
"""File of the release without sound, which public loaders of the corpus leave out."""


def read(path: Path) -> Corpus:
    """Read all recordings below a folder, except the published one that has no sound.

    Raises:
        CorpusError: If there is no recording.
    """
    require_folder(path, "CREMA-D")
    utterances = tuple(
        Utterance(file.stem, file, match["speaker"], _EMOTION[match["code"]], text=match["text"])
        for file in audio_files(path)
        if (match := _NAME.fullmatch(file.stem)) and match["code"] in _EMOTION and file.stem != _SILENT
    )
    if not utterances:
        raise CorpusError(
            f"{path}: holds no CREMA-D recording; give a folder above 1001_DFA_ANG_XX.wav and so on (or .flac)"
        )
    synthetic = is_synthetic(path)
    return Corpus("crema-d", titled("CREMA-D", synthetic), path, utterances, expected=EXPECTED, synthetic=synthetic)
