"""Any corpus, given as a CSV file with the header `path, speaker, emotion` and optional `session, split`."""

import csv
from collections.abc import Iterator
from pathlib import Path

from .base import Corpus, CorpusError, Utterance
from .canonical import canonical_emotion
from .files import is_synthetic, titled

_REQUIRED = ("path", "speaker", "emotion")
_SPLITS = ("train", "validation", "test")


def read(path: Path) -> Corpus:
    """Read a manifest, whose file name becomes the title of the corpus.

    Relative audio paths start at the folder of the manifest. The id of an utterance is its path as the manifest gives
    it. An emotion may be any label; usual synonyms count as one label (`canonical_emotion`). Further columns are
    ignored.

    Raises:
        CorpusError: If the file is not such a CSV, or a row or split does not parse.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: is not a file; a manifest is a CSV file with the columns path, speaker, emotion")
    utterances = []
    without_audio = []
    for number, row in _rows(path):
        emotion = canonical_emotion(row["emotion"])
        split = row.get("split", "").lower()
        if split and split not in _SPLITS:
            raise CorpusError(f"{path}, line {number}: split is {split!r}; it must be one of {', '.join(_SPLITS)}")
        audio = path.parent / row["path"]
        if audio.is_file():
            session = row.get("session") or None
            utterances.append(Utterance(row["path"], audio, row["speaker"], emotion, session, split or None))
        else:
            without_audio.append((row["path"], emotion))
    synthetic = is_synthetic(path.parent)
    return Corpus(
        "manifest",
        titled(path.name, synthetic),
        path,
        tuple(utterances),
        without_audio=tuple(without_audio),
        synthetic=synthetic,
    )


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the stripped cells of every row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, skipinitialspace=True, strict=True)
            columns = [name.strip().lower() for name in next(reader, [])]
            for required in _REQUIRED:
                if columns.count(required) != 1:
                    has = ", ".join(columns) or "nothing"
                    raise CorpusError(f"{path}, line 1: must have one column {required!r}, has {has}")
            for cells in filter(None, reader):
                if len(cells) != len(columns):
                    raise CorpusError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells, not {len(columns)} as in the header"
                    )
                row = dict(zip(columns, map(str.strip, cells), strict=True))
                for required in _REQUIRED:
                    if not row[required]:
                        raise CorpusError(f"{path}, line {reader.line_num}: {required} is empty")
                yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: is not a CSV file in UTF-8 ({error})") from None
