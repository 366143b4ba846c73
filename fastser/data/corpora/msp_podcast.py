"""MSP-Podcast (Lotfian and Busso 2019): `labels_consensus.csv` labels `Audios/MSP-PODCAST_0001_0008.wav`.

Releases differ in size. `RELEASES` holds those whose numbers are known.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from fastser.runtime.files import printable

from .base import Corpus, CorpusError, Utterance
from .files import audio_files, by_stem, is_synthetic, require_folder, titled
from .label_table import label_file, read_label_table

_EMOTION = {
    "A": "angry",
    "C": "contempt",
    "D": "disgust",
    "F": "fearful",
    "H": "happy",
    "N": "neutral",
    "O": "other",
    "S": "sad",
    "U": "surprised",
}
_NO_AGREEMENT = "X"
"""Code of a turn without a majority among the raters; such a turn has no label."""

_SPLIT = {"train": "train", "development": "validation", "test1": "test", "test2": "test", "test3": "test"}
RELEASES: Mapping[str, Mapping[str, int]] = {
    "release 2.0": {"train": 169_190, "development": 34_399, "test1": 46_294, "test2": 14_822},
}
"""Turns in each part of a release, also those without agreement, whose labels are released (those of Test3 are not).

Source: public notes on Table VI of C. Busso et al., The MSP-Podcast Corpus, arXiv:2509.09791, 2025. The table itself
was not seen. The sum is the number of turns that the page of the corpus gives.
"""

_LABEL_FILES = ("labels_consensus.csv", "labels_concensus.csv")  # the second spelling is that of early releases
_PODCAST = re.compile(r"MSP-PODCAST_(?P<podcast>\d+)_\w+", re.ASCII)


def read(path: Path) -> Corpus:
    """Read a folder that holds the label file, directly or one level below, and the audio at any depth.

    Test1, Test2 and Test3 are all the test set. Turns of unknown speakers get one speaker for each podcast.

    Raises:
        CorpusError: If this is not MSP-Podcast, or a label line does not parse.
    """
    require_folder(path, "MSP-Podcast")
    labels = label_file(path, _LABEL_FILES, "MSP-Podcast")
    audio = by_stem(file for file in audio_files(path) if file.stem.startswith("MSP-PODCAST_"))
    utterances = []
    without_audio = []
    turns: Counter[str] = Counter()
    for number, row in read_label_table(labels, ("FileName", "EmoClass", "SpkrID")):
        id, code, split = row["FileName"].removesuffix(".wav"), row["EmoClass"], row.get("Split_Set", "").lower()
        match = _PODCAST.fullmatch(id)
        if not match or code not in {*_EMOTION, _NO_AGREEMENT} or (split and split not in _SPLIT):
            line = printable(",".join(row.values()))
            raise CorpusError(f"{labels}, line {number}: is not an MSP-Podcast label line: {line}")
        turns[split] += 1
        if code == _NO_AGREEMENT:
            continue
        if id not in audio:
            without_audio.append((id, _EMOTION[code]))
            continue
        named = row["SpkrID"] and row["SpkrID"].lower() != "unknown"
        speaker = row["SpkrID"] if named else f"unknown in podcast {match['podcast']}"
        utterances.append(Utterance(id, audio[id], speaker, _EMOTION[code], split=_SPLIT.get(split)))
    synthetic = is_synthetic(path)
    return Corpus(
        "msp-podcast",
        titled("MSP-Podcast", synthetic),
        path,
        tuple(utterances),
        without_audio=tuple(without_audio),
        release=_release(turns),
        synthetic=synthetic,
    )


def _release(turns: Mapping[str, int]) -> str | None:
    """Return the release that has as many turns in each part, or None where none is known.

    Args:
        turns: Number of lines of the label file for each part.
    """
    known = {part: count for part, count in turns.items() if part != "test3"}
    return next((name for name, counts in RELEASES.items() if counts == known), None)
