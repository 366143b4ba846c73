"""MSP-IMPROV (Busso et al. 2017): `Evalution.txt` (so spelt in the release) labels `MSP-IMPROV-*.wav`."""

import re
from collections.abc import Iterator
from pathlib import Path

from .base import Corpus, CorpusError, ExpectedCounts, Utterance
from .checked import checked_corpus
from .files import audio_files, by_stem, is_synthetic, require_folder

_EMOTION = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
_OTHER = {"O", "X"}

EXPECTED = ExpectedCounts(
    {"angry": 792, "happy": 2644, "neutral": 3477, "sad": 885},
    source="MSP-IMPROV's 7798 turns of four classes",
)

_LABEL_FILES = ("Evalution.txt", "Evaluation.txt")
_LABEL_ID = re.compile(r"UTD-(?P<name>IMPROV-\w+-(?P<speaker>[FM](?P<session>\d\d))-\w-\w+)\.\w+", re.ASCII)


def read(path: Path) -> Corpus:
    """Read a folder with the label file in it or one level below, and the audio anywhere below.

    The emotion is the label file's second column; the letter in the file's name is what the actor was asked for.

    Raises:
        CorpusError: If this is not MSP-IMPROV, a label line does not parse, or no utterance is found.
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
            utterances.append(Utterance(id, audio[id], match["speaker"], emotion, session=session))
        else:
            without_audio.append(id)
    return checked_corpus(
        "msp-improv",
        "MSP-IMPROV",
        path,
        utterances,
        without_audio=without_audio,
        expected=EXPECTED,
        synthetic=is_synthetic(path, label_file.parent),
    )


def _label_file(path: Path) -> Path:
    for pattern in ("", "*/"):
        for name in _LABEL_FILES:
            for file in sorted(path.glob(pattern + name)):
                return file
    raise CorpusError(f"{path}: is not MSP-IMPROV; looked for {' or '.join(_LABEL_FILES)} in it and one level below")


def _labels(file: Path) -> Iterator[tuple[re.Match[str], str]]:
    """The parsed id and the emotion of every labelled turn of the four classes; lines of single raters are skipped."""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.startswith("UTD-"):
            continue
        name, label, *_ = [*(field.strip() for field in line.split(";")), ""]
        match = _LABEL_ID.fullmatch(name)
        if not match or label not in _EMOTION.keys() | _OTHER:
            raise CorpusError(f"{file}, line {number}: is not an MSP-IMPROV label line: {line.strip()!r}")
        if label in _EMOTION:
            yield match, _EMOTION[label]
