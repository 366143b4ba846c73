"""Splits that users or other toolkits bring along, as a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastser.data.corpora.base import Corpus, CorpusError
from fastser.runtime.files import expanded, printable

SETS = ("train", "validation", "test")
"""Names of the parts of a split."""

_OTHER_NAMES = {"dev": "validation", "val": "validation", "valid": "validation", "training": "train", "eval": "test"}


def read_split(path: str | Path, corpus: Corpus, whole: Corpus | None = None) -> dict[str, tuple[int, ...]]:
    """Read a split of a corpus.

    Args:
        path: CSV file with the columns `file` and `set`. A file is an id of the corpus, or a path that ends like that
            of one utterance. A set is "train", "validation" (also "dev", "val") or "test".
        corpus: The corpus. Its utterances may be missing in the file, and then belong to no set.
        whole: The corpus before its classes were chosen and its unusable files left out, to which the file may refer.

    Returns:
        Indices of the utterances of each set, sorted.

    Raises:
        CorpusError: If the file cannot be read, a column is missing, a file is unknown, in two sets or the name of
            several utterances, or no utterance is tested.
    """
    path = expanded(Path(path))
    known = whole or corpus
    by_name = _names(known)
    places = {utterance.id: index for index, utterance in enumerate(corpus.utterances)}
    found: dict[int, tuple[str, int]] = {}
    for number, row in _rows(path):
        where = f"{printable(path)}, line {number}"
        name = str(row["set"]).strip().lower()
        name = _OTHER_NAMES.get(name, name)
        if name not in SETS:
            raise CorpusError(f"{where}: the set is '{row['set']}', expected {', '.join(SETS)}")
        named = _index(str(row["file"]).strip(), by_name)
        if named is None:
            raise CorpusError(f"{where}: {known.title} has no file '{row['file']}'")
        if named < 0:
            raise CorpusError(f"{where}: '{row['file']}' is the name of several utterances; give more of its path")
        index = places.get(known.utterances[named].id)
        if index is None:
            continue
        earlier = found.setdefault(index, (name, number))
        if earlier[0] != name:
            raise CorpusError(f"{where}: '{row['file']}' is in {name}, but line {earlier[1]} has it in {earlier[0]}")
    split = {name: tuple(sorted(i for i, (of, _) in found.items() if of == name)) for name in SETS}
    if not split["test"]:
        raise CorpusError(
            f"{printable(path)}: no utterance of {corpus.title} with the chosen classes is in the set 'test'"
        )
    return split


def _rows(path: Path) -> list[tuple[int, dict[str | Any, str | Any]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in ("file", "set") if name not in (reader.fieldnames or ())]
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CorpusError(f"{printable(path)}: the split cannot be read ({reason})") from None
    if missing:
        raise CorpusError(
            f"{printable(path)}: there is no column '{missing[0]}'; a split needs the columns file and set"
        )
    return rows


def _names(corpus: Corpus) -> dict[str, int]:
    """Return the index of each utterance by its id and by every end of its path, or -1 where several share a name."""
    names: dict[str, int] = {}
    for index, utterance in enumerate(corpus.utterances):
        parts = utterance.path.parts
        own = {utterance.id, *("/".join(parts[begin:]) for begin in range(len(parts)))}
        own |= {name.rpartition(".")[0] for name in own if "." in name.rpartition("/")[2]}
        for name in own:
            names[name] = index if names.get(name, index) == index else -1
    names.update({utterance.id: index for index, utterance in enumerate(corpus.utterances)})
    return names


def _index(name: str, by_name: Mapping[str, int]) -> int | None:
    """Return the utterance that a file of a split names, -1 if there are several, None if there is none.

    The path of another machine begins with folders that this one does not have.
    """
    parts = name.replace("\\", "/").split("/")
    for begin in range(len(parts)):
        if (end := "/".join(parts[begin:])) in by_name:
            return by_name[end]
    return None


def sides(split: Mapping[str, Sequence[int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the utterances that a model has seen, for training or to choose its weights, and those it is tested on."""
    return tuple(sorted((*split["train"], *split["validation"]))), tuple(split["test"])
