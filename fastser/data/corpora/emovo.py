"""EMOVO (Costantini et al. 2014): `dis-f1-b1.wav` is dis(gusto), speaker f1, sentence b1."""

import re
from pathlib import Path

from .base import Corpus, CorpusError, Utterance
from .expected import ExpectedCounts
from .files import audio_files, is_synthetic, require_folder, titled

_EMOTION = {
    "dis": "disgust",  # disgusto
    "gio": "happy",  # gioia
    "neu": "neutral",  # neutro
    "pau": "fearful",  # paura
    "rab": "angry",  # rabbia
    "sor": "surprised",  # sorpresa
    "tri": "sad",  # tristezza
}

EXPECTED = ExpectedCounts.by_emotion(
    dict.fromkeys(sorted(_EMOTION.values()), 84),  # 6 speakers say 14 sentences
    source="EMOVO's published counts",
    speakers=6,
)

_NAME = re.compile(r"(?P<code>[a-z]{3})-(?P<speaker>[fm][123])-(?P<text>[a-z]\d)", re.ASCII)


def read(path: Path) -> Corpus:
    """Read all recordings below a folder.

    Raises:
        CorpusError: If there is no recording.
    """
    require_folder(path, "EMOVO")
    utterances = tuple(
        Utterance(file.stem, file, match["speaker"], _EMOTION[match["code"]], text=match["text"])
        for file in audio_files(path)
        if (match := _NAME.fullmatch(file.stem)) and match["code"] in _EMOTION
    )
    if not utterances:
        raise CorpusError(f"{path}: holds no EMOVO recording; give a folder above dis-f1-b1.wav and so on (or .flac)")
    synthetic = is_synthetic(path)
    return Corpus("emovo", titled("EMOVO", synthetic), path, utterances, expected=EXPECTED, synthetic=synthetic)
