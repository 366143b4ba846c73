"""IEMOCAP (Busso et al. 2008): `Session1..5/dialog/EmoEvaluation/*.txt` labels `Session1..5/sentences/wav/*/*.wav`."""

import re
from collections.abc import Iterator
from pathlib import Path

from .base import PAPER_CLASSES, Corpus, CorpusError, Utterance
from .expected import ExpectedCounts, ExpectedGroup
from .files import audio_files, by_stem, is_hidden, is_synthetic, require_folder, titled

_EMOTION = {
    "ang": "angry",
    "hap": "happy",
    "exc": "happy",  # excited counts as happy (paper 4.1)
    "neu": "neutral",
    "sad": "sad",
    "fru": "frustrated",
    "fea": "fearful",
    "sur": "surprised",
    "dis": "disgust",
    "oth": "other",
}
_NO_AGREEMENT = "xxx"
"""Code of an utterance without a majority among the raters; such an utterance has no label."""

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
_PER_EMOTION = {"frustrated": 1849, "surprised": 107, "fearful": 40, "other": 3, "disgust": 2}
EXPECTED = ExpectedCounts(
    (
        *(
            ExpectedGroup(emotion, count, speaker)
            for speaker, counts in _PER_SPEAKER.items()
            for emotion, count in zip(PAPER_CLASSES, counts, strict=True)
        ),
        *(ExpectedGroup(emotion, count) for emotion, count in _PER_EMOTION.items()),
    ),
    source="IEMOCAP's published counts, excited counted as happy",
)

_LABEL_LINE = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\s+(?P<id>\w+)\s+(?P<code>[a-z]{3})\s+\[.*\]\s*", re.ASCII)
_TRANSCRIPT_LINE = re.compile(r"(?P<id>Ses0[1-5]\w+) \[[\d.]+-[\d.]+\]:(?P<text>.*)", re.ASCII)
_ID = re.compile(r"Ses0(?P<session>[1-5])[FM]_\w+_(?P<letter>[FM])\d{3}", re.ASCII)


def read(path: Path) -> Corpus:
    """Read the folder that holds Session1 to Session5, directly or in IEMOCAP_full_release/ or IEMOCAP/.

    Texts come from `dialog/transcriptions/*.txt` where these files are there. The scripted dialogues are the same in
    all sessions.

    The speaker is the session and the letter of the id's last field: Ses01M speaks "Ses01F_impro04_M000". The first
    letter only tells who wore the motion-capture markers.

    Raises:
        CorpusError: If this is not IEMOCAP, or a label line does not parse.
    """
    require_folder(path, "IEMOCAP")
    root = _root(path)
    audio = by_stem(file for session in root.glob("Session[1-5]") for file in audio_files(session / "sentences/wav"))
    texts = _texts(root)
    utterances = []
    without_audio = []
    for match, emotion in _labels(root):
        id = match[0]
        if id in audio:
            speaker = f"Ses0{match['session']}{match['letter']}"
            utterances.append(Utterance(id, audio[id], speaker, emotion, match["session"], text=texts.get(id)))
        else:
            without_audio.append((id, emotion))
    synthetic = is_synthetic(path, root)
    return Corpus(
        "iemocap",
        titled("IEMOCAP", synthetic),
        path,
        tuple(utterances),
        expected=EXPECTED,
        without_audio=tuple(without_audio),
        synthetic=synthetic,
    )


def _root(path: Path) -> Path:
    for root in (path, path / "IEMOCAP_full_release", path / "IEMOCAP"):
        if any(root.glob("Session[1-5]")):
            return root
    raise CorpusError(
        f"{path}: is not IEMOCAP; give the folder that holds Session1 to Session5, directly or in IEMOCAP_full_release/"
        " or IEMOCAP/"
    )


def _labels(root: Path) -> Iterator[tuple[re.Match[str], str]]:
    """Yield the parsed id and the emotion of every labelled utterance."""
    files = sorted(root.glob("Session[1-5]/dialog/EmoEvaluation/*.txt"))
    if not files:
        raise CorpusError(f"{root}: has no label files; looked for Session*/dialog/EmoEvaluation/*.txt")
    for file in files:
        if is_hidden(file.name):
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
            if not line.startswith("["):
                continue
            fields = _LABEL_LINE.fullmatch(line)
            match = fields and _ID.fullmatch(fields["id"])
            if not fields or not match or fields["code"] not in {*_EMOTION, _NO_AGREEMENT}:
                raise CorpusError(f"{file}, line {number}: is not an IEMOCAP label line: {line.strip()!r}")
            if fields["code"] != _NO_AGREEMENT:
                yield match, _EMOTION[fields["code"]]


def _texts(root: Path) -> dict[str, str]:
    """Return the text of each transcribed utterance by its id. Lines of other forms are skipped."""
    return {
        match["id"]: match["text"]
        for file in sorted(root.glob("Session[1-5]/dialog/transcriptions/*.txt"))
        if not is_hidden(file.name)
        for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        if (match := _TRANSCRIPT_LINE.fullmatch(line))
    }
