"""RAVDESS speech (Livingstone and Russo 2018): `Actor_12/03-01-05-02-01-01-12.wav`, in any folder.

The fields are modality (03: audio only), channel (01: speech), emotion, intensity, statement, repetition and actor.
"""

import re
from pathlib import Path

from .base import Corpus, CorpusError, Utterance
from .expected import ExpectedCounts
from .files import audio_files, is_synthetic, require_folder, titled

_EMOTION = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}

EXPECTED = ExpectedCounts.by_emotion(
    {emotion: 96 if emotion == "neutral" else 192 for emotion in sorted(_EMOTION.values())},  # neutral: one intensity
    source="RAVDESS's published counts",
    speakers=24,
)

_NAME = re.compile(r"03-01-(?P<emotion>0[1-8])-\d\d-(?P<text>\d\d)-\d\d-(?P<actor>\d\d)", re.ASCII)


def read(path: Path) -> Corpus:
    """Read all audio-only speech below a folder.

    Raises:
        CorpusError: If there is no recording.
    """
    require_folder(path, "RAVDESS")
    utterances = tuple(
        Utterance(file.stem, file, f"Actor_{match['actor']}", _EMOTION[match["emotion"]], text=match["text"])
        for file in audio_files(path)
        if (match := _NAME.fullmatch(file.stem))
    )
    if not utterances:
        raise CorpusError(
            f"{path}: holds no RAVDESS speech; give a folder above 03-01-05-01-01-01-12.wav and so on (or .flac)"
        )
    synthetic = is_synthetic(path)
    return Corpus("ravdess", titled("RAVDESS", synthetic), path, utterances, expected=EXPECTED, synthetic=synthetic)
