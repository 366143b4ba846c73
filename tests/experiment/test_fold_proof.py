"""Proofs that folds do not leak, and the table of folds for other toolkits."""

import csv
import hashlib
from collections import defaultdict
from pathlib import Path

import pytest

from fastser.data.corpora import Corpus, Utterance
from fastser.experiment.fold_proof import PARTS, fold_digest, prove, write_folds
from fastser.experiment.folds import Fold, folds

pytestmark = pytest.mark.fast
UNKNOWN = [None] * 8


def corpus(folder: str = "/corpus", suffix: str = "wav") -> Corpus:
    utterances = [
        Utterance(f"{s}_{e}", Path(folder) / s / f"{s}_{e}.{suffix}", s, e)
        for s in ("ann", "bob", "cy", "dee")
        for e in ("angry", "sad")
    ]
    return Corpus("mine", "Mine", Path(folder), tuple(utterances))


def test_clean_folds() -> None:
    mine = corpus()
    proofs = [prove(mine, fold, range(8), ["a01", "b01"] * 4) for fold in folds(mine)]
    assert all((proof.speakers, proof.recordings, proof.texts) == ((), (), 2) for proof in proofs)
    assert len({proof.digest for proof in proofs}) == 4
    assert prove(mine, folds(mine)[0], range(8), UNKNOWN).texts is None
    assert prove(mine, folds(mine)[0], range(8), [None, "a", None, "a", *UNKNOWN[4:]]).texts == 1
    assert prove(mine, folds(mine)[0], range(8), [None, "", None, "", *UNKNOWN[4:]]).texts == 0


@pytest.mark.parametrize(
    ("fold", "shared"),
    [
        (Fold("x", (0, 4, 5), (2, 3), (1,)), ("ann",)),
        (Fold("x", (0, 4, 5), (1, 2), (6,)), ("ann",)),
        (Fold("x", (4, 5), (2, 3), (2,)), ("bob",)),
        (Fold("x", (4, 5), (2, 3), (0, 1)), ()),
    ],
)
def test_shared_speakers(fold: Fold, shared: tuple[str, ...]) -> None:
    assert prove(corpus(), fold, range(8), UNKNOWN).speakers == shared


def test_the_audio_of_another_speaker_is_a_leak() -> None:
    proof = prove(corpus(), folds(corpus())[0], (0, 1, 2, 3, 4, 0, 6, 7), UNKNOWN)
    assert proof.recordings == ("ann_angry = cy_sad",)


def test_the_digest_can_be_computed_from_the_table(tmp_path: Path) -> None:
    mine = corpus(str(tmp_path))
    made = folds(mine)
    write_folds(tmp_path / "folds.csv", mine, made)
    with (tmp_path / "folds.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4 * 8
    assert {row["file"] for row in rows} == {f"{u.speaker}/{u.id}.wav" for u in mine.utterances}
    lines = defaultdict(list)
    for row in rows:
        lines[row["fold"]].append(f"{row['part']},{row['id']}\n")
    for fold in made:
        assert hashlib.sha256("".join(sorted(lines[fold.name])).encode()).hexdigest() == fold_digest(mine, fold)
        assert {row["speaker"] for row in rows if (row["fold"], row["part"]) == (fold.name, PARTS[2])} == {fold.name}


def test_the_digest_does_not_depend_on_place_and_format() -> None:
    other = corpus("/elsewhere", "flac")
    digests = [[fold_digest(mine, fold) for fold in folds(mine)] for mine in (corpus(), other)]
    assert digests[0] == digests[1]
