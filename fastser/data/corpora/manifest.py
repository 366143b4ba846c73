"""Any corpus, given as a CSV file with the header `path, speaker, emotion` and optional `session, split`."""

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Corpus, CorpusError, Utterance
from .checked import checked_corpus
from .files import first_few, is_synthetic

_EMOTION = {
    synonym: emotion
    for emotion, synonyms in {
        "angry": ("angry", "anger", "ang"),
        "happy": ("happy", "happiness", "hap", "excited", "excitement", "exc"),
        "neutral": ("neutral", "neu"),
        "sad": ("sad", "sadness"),
    }.items()
    for synonym in synonyms
}
_REQUIRED = ("path", "speaker", "emotion")
_SPLITS = ("train", "validation", "test")


def read(path: Path) -> Corpus:
    """Read a manifest; its name becomes the corpus's title.

    Relative audio paths start at the manifest's folder, and the path as given is the utterance's id. Further columns
    are ignored. Rows with other emotions are left out, with a warning; a split that has a speaker in two parts is taken
    as it is, with another.

    Raises:
        CorpusError: If the file is not such a CSV, a row or split does not parse, no utterance is found, or a file is
            there twice, also where its path is written in two ways.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: is not a file; a manifest is a CSV file with the columns path, speaker, emotion")
    utterances = []
    without_audio = []
    others: Counter[str] = Counter()
    for number, row in _rows(path):
        emotion = _EMOTION.get(row["emotion"].lower())
        split = row.get("split", "").lower()
        if split and split not in _SPLITS:
            raise CorpusError(f"{path}, line {number}: split is {split!r}; it must be one of {', '.join(_SPLITS)}")
        audio = path.parent / row["path"]
        if emotion is None:
            others[row["emotion"]] += 1
        elif not audio.is_file():
            without_audio.append(row["path"])
        else:
            session = row.get("session") or None
            utterances.append(Utterance(row["path"], audio, row["speaker"], emotion, session, split or None))
    without_split = [u.id for u in utterances if u.split is None]
    if 0 < len(without_split) < len(utterances):
        raise CorpusError(f"{path}: some rows have a split, {len(without_split)} have none: {first_few(without_split)}")
    _require_distinct(path, utterances)
    warnings = []
    if others:
        names = first_few([f"{emotion} ({count})" for emotion, count in others.items()])
        warnings.append(f"{path}: {others.total()} rows with other emotions are left out: {names}")
    if mixed := _mixed(utterances):
        warnings.append(f"{path}: speakers in more than one part of its split: {first_few(mixed)}")
    return checked_corpus(
        "manifest",
        path.name,
        path,
        utterances,
        without_audio=without_audio,
        warnings=warnings,
        synthetic=is_synthetic(path.parent),
    )


def _require_distinct(path: Path, utterances: Sequence[Utterance]) -> None:
    ids: dict[str, str] = {}
    for utterance in utterances:
        file = os.path.normpath(utterance.path)
        if ids.setdefault(file, utterance.id) != utterance.id:
            raise CorpusError(f"{path}: {ids[file]!r} and {utterance.id!r} are the same file")


def _mixed(utterances: Sequence[Utterance]) -> list[str]:
    """Speakers in more than one part, with the parts."""
    parts: dict[str, set[str]] = defaultdict(set)
    for utterance in utterances:
        if utterance.split is not None:
            parts[utterance.speaker].add(utterance.split)
    return [f"{speaker} ({', '.join(sorted(where))})" for speaker, where in sorted(parts.items()) if len(where) > 1]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and stripped cells of every row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, skipinitialspace=True, strict=True)
            columns = [name.strip().lower() for name in next(reader, [])]
            for required in _REQUIRED:
                if columns.count(required) != 1:
                    raise CorpusError(f"{path}, line 1: must have one column {required!r}, has {', '.join(columns)}")
            for cells in filter(None, reader):
                if len(cells) != len(columns):
                    raise CorpusError(f"{path}, line {reader.line_num}: {len(cells)} cells, not {len(columns)}")
                row = dict(zip(columns, map(str.strip, cells), strict=True))
                for required in _REQUIRED:
                    if not row[required]:
                        raise CorpusError(f"{path}, line {reader.line_num}: {required} is empty")
                yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: is not a CSV file in UTF-8 ({error})") from None
