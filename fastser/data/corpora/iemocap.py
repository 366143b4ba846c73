"""IEMOCAP (Busso et al. 2008): `Session1..5/dialog/EmoEvaluation/*.txt` labels `Session1..5/sentences/wav/*/*.wav`."""

import re
from collections.abc import Iterator
from pathlib import Path

from .base import PAPER_CLASSES, Corpus, CorpusError, ExpectedCounts, Utterance
from .checked import checked_corpus
from .files import audio_files, by_stem, is_synthetic, require_folder

_EMOTION = {"ang": "angry", "hap": "happy", "exc": "happy", "neu": "neutral", "sad": "sad"}
_OTHER = {"fru", "fea", "sur", "dis", "oth", "xxx"}

_PER_SPEAKER = {
    "Ses01F": (147, 132, 171, 78),
    "Ses01M": (82, 146, 213, 116),
    "Ses02F": (67, 166, 135, 113),
    "Ses02M": (70, 161, 227, 84),
    "Ses03F": (92, 128, 130, 172),
    "Ses03M": (148, 158, 190, 133),
    "Ses04F": (205, 185, 76, 62),
    "Ses04M": (122, 118, 182, 81),
    "Ses05F": (78, 159, 221, 132),
    "Ses05M": (92, 283, 163, 113),
}
EXPECTED = ExpectedCounts(
    {
        f"{speaker} {emotion}": count
        for speaker, counts in _PER_SPEAKER.items()
        for emotion, count in zip(PAPER_CLASSES, counts, strict=True)
    },
    source="IEMOCAP's 5531 utterances of four classes, excited counted as happy",
)

_LABEL_LINE = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\s+(?P<id>\w+)\s+(?P<code>[a-z]{3})\s+\[.*\]\s*", re.ASCII)
_ID = re.compile(r"Ses0(?P<session>[1-5])[FM]_\w+_(?P<letter>[FM])\d{3}", re.ASCII)


def read(path: Path) -> Corpus:
    """Read the folder that holds Session1 to Session5, itself or in IEMOCAP_full_release/ or IEMOCAP/.

    The speaker is the session and the letter of the id's last field ("Ses01F_impro04_M000" is spoken by Ses01M): the
    first letter only says who wore the motion-capture markers.

    Raises:
        CorpusError: If this is not IEMOCAP, a label line does not parse, or no utterance is found.
    """
    require_folder(path, "IEMOCAP")
    root = _root(path)
    audio = by_stem(file for session in root.glob("Session[1-5]") for file in audio_files(session / "sentences/wav"))
    utterances = []
    without_audio = []
    for match, emotion in _labels(root):
        id = match[0]
        if id in audio:
            speaker = f"Ses0{match['session']}{match['letter']}"
            utterances.append(Utterance(id, audio[id], speaker, emotion, session=match["session"]))
        else:
            without_audio.append(id)
    return checked_corpus(
        "iemocap",
        "IEMOCAP",
        path,
        utterances,
        without_audio=without_audio,
        expected=EXPECTED,
        group=lambda utterance: f"{utterance.speaker} {utterance.emotion}",
        synthetic=is_synthetic(path, root),
    )


def _root(path: Path) -> Path:
    for root in (path, path / "IEMOCAP_full_release", path / "IEMOCAP"):
        if any(root.glob("Session[1-5]")):
            return root
    raise CorpusError(
        f"{path}: is not IEMOCAP; looked for Session1 to Session5 in it, in IEMOCAP_full_release/ and in IEMOCAP/"
    )


def _labels(root: Path) -> Iterator[tuple[re.Match[str], str]]:
    """The parsed id and the emotion of every labelled utterance of the four classes."""
    files = sorted(root.glob("Session[1-5]/dialog/EmoEvaluation/*.txt"))
    if not files:
        raise CorpusError(f"{root}: has no label files; looked for Session*/dialog/EmoEvaluation/*.txt")
    for file in files:
        if file.name.startswith("."):
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
            if not line.startswith("["):
                continue
            fields = _LABEL_LINE.fullmatch(line)
            match = fields and _ID.fullmatch(fields["id"])
            if not fields or not match or fields["code"] not in _EMOTION.keys() | _OTHER:
                raise CorpusError(f"{file}, line {number}: is not an IEMOCAP label line: {line.strip()!r}")
            if fields["code"] in _EMOTION:
                yield match, _EMOTION[fields["code"]]
