"""Folds of a corpus, each with a proof that nothing leaks into its test set, as a table for other toolkits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastser.data.corpora import Corpus
from fastser.data.corpora.texts import shared_texts
from fastser.experiment.folds import Fold
from fastser.runtime.csv_file import csv_file
from fastser.runtime.files import relative_below

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class FoldProof:
    """Comparison of the two sides of a fold: training and validation, and test.

    Attributes:
        fold: The fold.
        digest: SHA-256 that identifies the fold, see `fold_digest`.
        speakers: Speakers on both sides, and those in training and validation.
        recordings: "id = id" for each test utterance whose audio is on the other side too.
        texts: Number of different texts that are spoken on both sides, or None where one side has no known text.
    """

    fold: Fold
    digest: str
    speakers: tuple[str, ...]
    recordings: tuple[str, ...]
    texts: int | None


def prove(corpus: Corpus, fold: Fold, audio: Sequence[int | str], texts: Sequence[str | None]) -> FoldProof:
    """Compare the two sides of a fold.

    Args:
        corpus: The corpus.
        fold: One of its folds.
        audio: Name of the audio of each utterance. Utterances with the same audio have the same name.
        texts: Text of each utterance, as `fastser.data.corpora.texts.comparable_texts` returns it.
    """
    utterances = corpus.utterances
    seen = (*fold.train, *fold.validation)
    spoken = {part: {utterances[i].speaker for i in getattr(fold, part)} for part in PARTS}
    shared = spoken["test"] & (spoken["train"] | spoken["validation"]) | (spoken["train"] & spoken["validation"])
    owners = {audio[i]: utterances[i].id for i in seen}
    recordings = tuple(f"{utterances[i].id} = {owners[audio[i]]}" for i in fold.test if audio[i] in owners)
    known = all(any(texts[i] is not None for i in side) for side in (seen, fold.test))
    return FoldProof(
        fold,
        fold_digest(corpus, fold),
        tuple(sorted(shared)),
        recordings,
        len(shared_texts(texts, seen, fold.test)) if known else None,
    )


def fold_digest(corpus: Corpus, fold: Fold) -> str:
    """Return the SHA-256 of a fold: of its lines "part,id" in sorted order, in UTF-8, with a line feed after each.

    It does not depend on the corpus' place, on its folders, or on the format of its audio.
    """
    lines = sorted(f"{part},{corpus.utterances[i].id}\n" for part in PARTS for i in getattr(fold, part))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_folds(path: Path, corpus: Corpus, folds: Sequence[Fold]) -> None:
    """Write folds as CSV with the columns file, speaker, emotion, fold, part and id.

    Args:
        path: The CSV file. Its folder exists.
        corpus: The corpus. Files are relative to its folder where they lie below it.
        folds: Its folds.
    """
    root = corpus.path.resolve()
    root = root if root.is_dir() else root.parent
    files = [relative_below(root, utterance.path) for utterance in corpus.utterances]
    with csv_file(path, ["file", "speaker", "emotion", "fold", "part", "id"]) as write_row:
        for fold in folds:
            rows = sorted((i, name) for name in PARTS for i in getattr(fold, name))
            for i, name in rows:
                utterance = corpus.utterances[i]
                write_row([files[i], utterance.speaker, utterance.emotion, fold.name, name, utterance.id])
