"""MSP-IMPROV (Busso et al. 2017): `Evalution.txt` (the release's spelling) labels `MSP-IMPROV-*.wav`."""

import re
from collections.abc import Iterator
from pathlib import Path

from .base import Corpus, CorpusError, Utterance
from .expected import ExpectedCounts
from .files import audio_files, by_stem, is_hidden, is_synthetic, require_folder, titled

_EMOTION = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad", "O": "other"}
_NO_AGREEMENT = "X"
"""Code of a turn without a majority among the raters; such a turn has no label."""

EXPECTED = ExpectedCounts.by_emotion(
    {"angry": 792, "happy": 2644, "neutral": 3477, "sad": 885, "other": 85},
    source="MSP-IMPROV's published counts",
)

_TARGET = "RS"
"""Codes of the scenarios in which the target sentence is spoken: read, and improvised around it.

The turns that lead to the sentence (T) and those between the recordings (P) have other words.
"""

_SENTENCE = re.compile(r"(?P<code>S\d\d)\w", re.ASCII)
"""Target sentence and the emotion that was asked for, such as S01A. The sentence is the same for all four emotions."""

_LABEL_FILES = ("Evalution.txt", "Evaluation.txt")
_LABEL_ID = re.compile(
    r"UTD-(?P<name>IMPROV-(?P<sentence>\w+)-(?P<speaker>[FM](?P<session>\d\d))-(?P<scenario>\w)-\w+)\.\w+", re.ASCII
)


def read(path: Path) -> Corpus:
    """Read a folder that holds the label file, directly or one level below, and the audio at any depth.

    The emotion is the second column of the label file. The letter in the name of the audio file is the emotion that
    the actor was asked for.

    Raises:
        CorpusError: If this is not MSP-IMPROV, or a label line does not parse.
    """
    require_folder(path, "MSP-IMPROV")
    label_file = _label_file(path)
    audio = by_stem(file for file in audio_files(path) if file.stem.startswith("MSP-IMPROV-"))
    utterances = []
    without_audio = []
    for match, emotion in _labels(label_file):
        id = f"MSP-{match['name']}"
        if id in audio:
            session = str(int(match["session"]))
            utterances.append(Utterance(id, audio[id], match["speaker"], emotion, session, text=_text(match)))
        else:
            without_audio.append((id, emotion))
    synthetic = is_synthetic(path, label_file.parent)
    return Corpus(
        "msp-improv",
        titled("MSP-IMPROV", synthetic),
        path,
        tuple(utterances),
        expected=EXPECTED,
        without_audio=tuple(without_audio),
        synthetic=synthetic,
    )


def _text(turn: re.Match[str]) -> str | None:
    """Return the code of the target sentence ("S01"), or None for a turn that is not the sentence."""
    sentence = _SENTENCE.fullmatch(turn["sentence"])
    return sentence["code"] if sentence and turn["scenario"] in _TARGET else None


def _label_file(path: Path) -> Path:
    for pattern in ("", "*/"):
        for name in _LABEL_FILES:
            for file in sorted(path.glob(pattern + name)):
                if not is_hidden(file.relative_to(path).parts[0]):
                    return file
    raise CorpusError(
        f"{path}: is not MSP-IMPROV; give the folder that holds {' or '.join(_LABEL_FILES)},"
        " directly or one level below"
    )


def _labels(file: Path) -> Iterator[tuple[re.Match[str], str]]:
    """Yield the parsed id and the emotion of every labelled turn; lines of single raters are skipped."""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.startswith("UTD-"):
            continue
        name, label, *_ = [*(field.strip() for field in line.split(";")), ""]
        match = _LABEL_ID.fullmatch(name)
        if not match or label not in {*_EMOTION, _NO_AGREEMENT}:
            raise CorpusError(f"{file}, line {number}: is not an MSP-IMPROV label line: {line.strip()!r}")
        if label != _NO_AGREEMENT:
            yield match, _EMOTION[label]
