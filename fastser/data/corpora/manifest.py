"""Any corpus, given as a CSV file with the header `path, speaker, emotion` and optional `session, split, text`."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from fastser.runtime.files import expanded

from .base import Corpus, CorpusError, Utterance
from .canonical import canonical_emotion
from .files import is_synthetic, names_file, titled
from .names import plain_name
from .strict_csv import Faults, check_columns, read_rows

_REQUIRED = ("path", "speaker", "emotion")
_OPTIONAL = ("session", "split", "text")
_SPLITS = ("train", "validation", "test")


def read(path: Path) -> Corpus:
    """Read a manifest, whose file name becomes the title of the corpus.

    Relative audio paths start at the folder of the manifest, and a leading "~" is the home folder. The id of an
    utterance is its path as the manifest gives it. An emotion may be any label; usual synonyms count as one label
    (`canonical_emotion`). Further columns are ignored.

    Raises:
        CorpusError: If the file is not such a CSV. The message lists all faults with their lines.
    """
    if not path.is_file():
        advice = f"; {command_for(path)}" if path.is_dir() else ""
        raise CorpusError(
            f"{path}: is not a file; a manifest is a CSV file with the columns path, speaker, emotion{advice}"
        )
    faults = Faults(path)
    utterances = []
    missing = []
    lines: dict[str, int] = {}
    for number, row in read_rows(path, "a manifest", _check_columns, faults):
        _check_row(row, number, lines, faults)
        if faults.found and set(_REQUIRED) - row.keys():
            continue
        emotion = canonical_emotion(row["emotion"])
        audio = path.parent / expanded(Path(row["path"]))
        if not row["path"] or not names_file(audio):
            missing.append((number, row["path"], emotion))
        elif not faults.found:
            session, split = plain_name(row.get("session", "")) or None, row.get("split", "").lower() or None
            utterances.append(Utterance(row["path"], audio, row["speaker"], emotion, session, split, row.get("text")))
    if faults.found:
        for number, name, _ in missing:
            if name:
                faults.add(number, f"there is no file {name}")
    faults.require_none()
    synthetic = is_synthetic(path.parent)
    return Corpus(
        "manifest",
        titled(path.name, synthetic),
        path,
        tuple(utterances),
        without_audio=tuple((name, emotion) for _, name, emotion in missing),
        synthetic=synthetic,
    )


def command_for(folder: Path) -> str:
    """Return the end of a sentence: the command that makes a manifest of a folder of audio files."""
    return (
        f"python -m fastser.manifest {shlex.quote(str(folder))} --pattern '{{speaker}}_{{emotion}}_*.wav' "
        "--out corpus.csv makes one from file names"
    )


def _check_row(row: dict[str, str], number: int, lines: dict[str, int], faults: Faults) -> None:
    for required in _REQUIRED:
        if required in row and not plain_name(row[required]):
            faults.add(number, f"{required} is empty")
    split = row.get("split", "")
    if split and split.lower() not in _SPLITS:
        faults.add(number, f"split is {split!r}; it must be one of {', '.join(_SPLITS)}")
    if (name := row.get("path")) and (first := lines.setdefault(name, number)) != number:
        faults.add(number, f"has {name} more than once, first in line {first}")


def _check_columns(columns: Sequence[str], faults: Faults) -> None:
    check_columns(columns, _REQUIRED, _OPTIONAL, faults)
