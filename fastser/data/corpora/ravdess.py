"""RAVDESS speech (Livingstone and Russo 2018): `Actor_12/03-01-05-02-01-01-12.wav`, wherever it lies.

The fields are modality (03 audio only), channel (01 speech), emotion, intensity, statement, repetition and actor.
"""

import re
from pathlib import Path

from .base import Corpus, ExpectedCounts, Utterance
from .checked import checked_corpus
from .files import audio_files, is_synthetic, require_folder

_EMOTION = {"01": "neutral", "03": "happy", "04": "sad", "05": "angry"}
"""Calm (02) is left out, as are fearful, disgust and surprised."""

EXPECTED = ExpectedCounts(
    {"angry": 192, "happy": 192, "neutral": 96, "sad": 192},
    source="RAVDESS's 672 spoken utterances of four classes",
)

_NAME = re.compile(r"03-01-(?P<emotion>0[1345])-\d\d-\d\d-\d\d-(?P<actor>\d\d)", re.ASCII)


def read(path: Path) -> Corpus:
    """Read all audio-only speech anywhere below a folder.

    Raises:
        CorpusError: If no utterance is found, or one is there twice.
    """
    require_folder(path, "RAVDESS")
    utterances = [
        Utterance(file.stem, file, f"Actor_{match['actor']}", _EMOTION[match["emotion"]])
        for file in audio_files(path)
        if (match := _NAME.fullmatch(file.stem))
    ]
    return checked_corpus("ravdess", "RAVDESS", path, utterances, expected=EXPECTED, synthetic=is_synthetic(path))
