"""Any corpus, given as a CSV file with the header `path, speaker, emotion` and optional `session, split, text`."""

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastser.data.file_kind import UTF16_MARKS, other_file
from fastser.runtime.files import expanded

from .base import Corpus, CorpusError, Utterance
from .canonical import canonical_emotion
from .files import is_synthetic, titled
from .names import plain_name

_REQUIRED = ("path", "speaker", "emotion")
_OPTIONAL = ("session", "split", "text")
_SPLITS = ("train", "validation", "test")
_FAULTS_SHOWN = 10
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


@dataclass(slots=True)
class _Faults:
    """All faults of a manifest, each with its line."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, line: int, fault: str) -> None:
        """Add a fault of a line."""
        self.found.append(f"line {line}: {fault}")

    def require_none(self) -> None:
        """Check that there are no faults.

        Raises:
            CorpusError: If there are. It lists the first `_FAULTS_SHOWN` in one line.
        """
        if not self.found:
            return
        shown = "; ".join(self.found[:_FAULTS_SHOWN])
        if len(self.found) == 1:
            raise CorpusError(f"{self.path}, {shown}")
        more = f"; and {len(self.found) - _FAULTS_SHOWN} more" if len(self.found) > _FAULTS_SHOWN else ""
        raise CorpusError(f"{self.path}: {len(self.found)} faults: {shown}{more}")


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
    faults = _Faults(path)
    utterances = []
    missing = []
    lines: dict[str, int] = {}
    for number, row in _rows(path, faults):
        _check_row(row, number, lines, faults)
        if faults.found and set(_REQUIRED) - row.keys():
            continue
        emotion = canonical_emotion(row["emotion"])
        audio = path.parent / expanded(Path(row["path"]))
        if not row["path"] or not _is_file(audio):
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


def _is_file(path: Path) -> bool:
    """Return whether a path is a file. A name that no file can have is none."""
    try:
        return path.is_file()
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        return False


def _check_row(row: dict[str, str], number: int, lines: dict[str, int], faults: _Faults) -> None:
    for required in _REQUIRED:
        if required in row and not plain_name(row[required]):
            faults.add(number, f"{required} is empty")
    split = row.get("split", "")
    if split and split.lower() not in _SPLITS:
        faults.add(number, f"split is {split!r}; it must be one of {', '.join(_SPLITS)}")
    if (name := row.get("path")) and (first := lines.setdefault(name, number)) != number:
        faults.add(number, f"has {name} more than once, first in line {first}")


def _rows(path: Path, faults: _Faults) -> list[tuple[int, dict[str, str]]]:
    """Return the line number and the stripped cells of every row that has the cells of the header."""
    text = _text(path)
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows = []
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if separator != ",":
            faults.add(1, f"the cells are separated by {_SEPARATORS[separator]}, they must be separated by commas")
        _check_columns(columns, faults)
        for cells in filter(None, reader):
            if len(cells) == len(columns):
                rows.append((reader.line_num, dict(zip(columns, map(str.strip, cells), strict=True))))
            else:
                faults.add(reader.line_num, f"{len(cells)} cells, not {len(columns)} as in the header")
    except csv.Error as error:
        faults.add(reader.line_num, f"is not a CSV file ({error})")
    return rows


def _check_columns(columns: Sequence[str], faults: _Faults) -> None:
    has = ", ".join(columns) or "nothing"
    if absent := [name for name in _REQUIRED if name not in columns]:
        nouns = "column" if len(absent) == 1 else "columns"
        faults.add(1, f"has no {nouns} {', '.join(absent)}; it has {has}")
    if doubled := [name for name in (*_REQUIRED, *_OPTIONAL) if columns.count(name) > 1]:
        nouns = "the column" if len(doubled) == 1 else "each of the columns"
        faults.add(1, f"must have {nouns} {', '.join(doubled)} once; it has {has}")


def _separator(text: str) -> str:
    """Return the separator of the header: the comma, unless only another one divides it."""
    header = text.partition("\n")[0]
    return max(_SEPARATORS, key=lambda separator: (separator in header and separator == ",", header.count(separator)))


def _text(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith(UTF16_MARKS):
        raise CorpusError(f"{path}: is not a CSV file in UTF-8, but in UTF-16; save it as UTF-8")
    if reason := other_file(content):
        raise CorpusError(f"{path}: {reason}; a manifest is a CSV file in UTF-8")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise CorpusError(f"{path}, line {line}: holds a zero byte, as files in UTF-16 do; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}, line {line}: is not a CSV file in UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8"
        ) from None
