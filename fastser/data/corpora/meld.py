"""MELD (Poria et al. 2019) and corpora in its form: `train_sent_emo.csv` labels `dia0_utt3.wav`.

The release has videos. Extract the sound to WAV files of the same names first. Dialogue numbers start anew in each
part, so each part has a folder of its own, whose name contains train, dev or test.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from fastser.runtime.files import printable

from .base import Corpus, CorpusError, Utterance
from .canonical import canonical_emotion
from .expected import ExpectedCounts
from .files import audio_files, is_hidden, is_synthetic, require_folder, titled
from .label_table import read_label_table

EXPECTED = ExpectedCounts.by_emotion(
    {
        "angry": 1607,
        "disgust": 361,
        "fearful": 358,
        "happy": 2308,
        "neutral": 6436,
        "sad": 1002,
        "surprised": 1636,
    },
    source="MELD's published counts",
)

_PARTS = {"train": "train", "dev": "validation", "test": "test"}
_NAME = re.compile(r"dia\d+_utt\d+", re.ASCII)


def read(path: Path) -> Corpus:
    """Read a folder that holds `train_sent_emo.csv` and so on, directly or one level below, and the audio.

    The parts become the corpus' own split if all three are there.

    Raises:
        CorpusError: If there is no label file, or a label line does not parse.
    """
    require_folder(path, "MELD")
    tables = {part: file for part in _PARTS if (file := _label_file(path, part))}
    if not tables:
        raise CorpusError(
            f"{path}: is not MELD; give the folder that holds train_sent_emo.csv, dev_sent_emo.csv or"
            " test_sent_emo.csv, directly or one level below"
        )
    audio = _audio(path, tables)
    utterances, without_audio = [], []
    for part, file in tables.items():
        split = _PARTS[part] if len(tables) == len(_PARTS) else None
        for number, row in read_label_table(file, ("Dialogue_ID", "Utterance_ID", "Speaker", "Emotion")):
            name = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
            if not _NAME.fullmatch(name) or not row["Speaker"] or not row["Emotion"]:
                line = printable(",".join(row.values()))
                raise CorpusError(f"{file}, line {number}: needs two numbers, a speaker and an emotion: {line}")
            emotion = canonical_emotion(row["Emotion"])
            id = f"{part}/{name}"
            if (part, name) in audio:
                text = row.get("Utterance")
                utterances.append(Utterance(id, audio[part, name], row["Speaker"], emotion, split=split, text=text))
            else:
                without_audio.append((id, emotion))
    synthetic = is_synthetic(path)
    return Corpus(
        "meld",
        titled("MELD", synthetic),
        path,
        tuple(utterances),
        expected=EXPECTED,
        without_audio=tuple(without_audio),
        synthetic=synthetic,
    )


def _label_file(path: Path, part: str) -> Path | None:
    files = (file for pattern in ("", "*/") for file in sorted(path.glob(f"{pattern}{part}_sent_emo.csv")))
    return next((f for f in files if f.is_file() and not is_hidden(f.relative_to(path).parts[0])), None)


def _audio(path: Path, parts: Iterable[str]) -> dict[tuple[str, str], Path]:
    """Return the audio files by part and name.

    Raises:
        CorpusError: If two files have the same part and name, or if a file could belong to several parts.
    """
    found: dict[tuple[str, str], Path] = {}
    for file in audio_files(path):
        if not _NAME.fullmatch(file.stem):
            continue
        folders = " ".join(file.relative_to(path).parts[:-1]).lower()
        own = [part for part in parts if part in folders] or list(parts)
        if len(own) > 1:
            raise CorpusError(
                f"{file}: could belong to {' or '.join(own)}; put each part into a folder of its own, such as train/,"
                " dev/ and test/"
            )
        first = found.setdefault((own[0], file.stem), file)
        if first != file:
            raise CorpusError(f"{file}: the utterance {file.stem} of {own[0]} is also in {first}; keep one of them")
    return found
