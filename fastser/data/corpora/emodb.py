"""EMO-DB (Burkhardt et al. 2005): `wav/03a01Fa.wav` is speaker 03, text a01, F(reude), version a."""

import re
from pathlib import Path

from .base import Corpus, CorpusError, Utterance
from .expected import ExpectedCounts
from .files import audio_files, is_synthetic, require_folder, titled

_EMOTION = {
    "W": "angry",  # Wut
    "L": "bored",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fearful",  # Angst
    "F": "happy",  # Freude
    "N": "neutral",
    "T": "sad",  # Trauer
}

EXPECTED = ExpectedCounts.by_emotion(
    {"angry": 127, "bored": 81, "disgust": 46, "fearful": 69, "happy": 71, "neutral": 79, "sad": 62},
    source="EMO-DB's published counts",
    speakers=10,
)

_NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<letter>[WLEAFNT])[a-z]?", re.ASCII)


def read(path: Path) -> Corpus:
    """Read the folder of recordings, or the folder whose sub-folder `wav` holds them.

    Raises:
        CorpusError: If there is no recording.
    """
    require_folder(path, "EMO-DB")
    recordings = path / "wav" if (path / "wav").is_dir() else path
    utterances = tuple(
        Utterance(file.stem, file, match["speaker"], _EMOTION[match["letter"]], text=match["text"])
        for file in audio_files(recordings)
        if (match := _NAME.fullmatch(file.stem))
    )
    if not utterances:
        raise CorpusError(
            f"{path}: holds no EMO-DB recording; give the folder that holds 03a01Fa.wav and so on (or .flac), or its"
            " parent if the folder's name is wav"
        )
    synthetic = is_synthetic(path)
    return Corpus("emodb", titled("EMO-DB", synthetic), path, utterances, expected=EXPECTED, synthetic=synthetic)
