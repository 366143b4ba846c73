"""MELD (Poria et al. 2019) and corpora in its form: tables of dialogues label `dia0_utt3.wav`.

Its dyadic variant and EmoryNLP (`sea1_ep15_sc1_utt3.wav`) are such corpora. The release has videos. Extract the sound
to audio files of the same names first. Dialogue numbers start anew in each part, so each part has a folder of its own,
whose name contains train, dev (or val) or test.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fastser.runtime.files import printable

from .base import Corpus, CorpusError, Utterance
from .canonical import canonical_emotion
from .expected import ExpectedCounts
from .files import ANY_AUDIO, audio_files, is_hidden, is_synthetic, titled
from .label_table import columns_of, read_label_table

EXPECTED = ExpectedCounts.by_emotion(
    {
        "angry": 1607,
        "disgust": 361,
        "fearful": 358,
        "happy": 2308,
        "neutral": 6434,
        "sad": 1002,
        "surprised": 1636,
    },
    source="MELD's published counts (without two utterances that have no clip)",
)

_WITHOUT_CLIP = {("train", "dia125_utt3"), ("dev", "dia110_utt7")}
"""Utterances whose video is damaged or absent in the release, which public loaders leave out. Both are neutral."""

_SPLIT = {"train": "train", "dev": "validation", "test": "test"}
"""Part of MELD -> name of the split."""

_OFFICIAL = {part: f"{part}_sent_emo.csv" for part in _SPLIT}

_MELD_NAME = ("dia{}_utt{}", ("Dialogue_ID", "Utterance_ID"))
_AUDIO_NAMES = (
    ("dia{}_utt{}", ("Old_Dialogue_ID", "Old_Utterance_ID")),
    _MELD_NAME,
    ("sea{}_ep{}_sc{}_utt{}", ("Season", "Episode", "Scene_ID", "Utterance_ID")),
)
"""Names of audio files and the columns of their numbers: of MELD's dyadic variant, of MELD and of EmoryNLP.

The first that a table has the columns of counts. Source: `README.md` of github.com/declare-lab/MELD.
"""

_PART = re.compile("train|dev(?!ice)|(?<!la)(?<!con)test|(?<![a-z])val")
_AUDIO_NAME = re.compile(r"(?P<final>final_videos_test)?(?P<name>dia\d+_utt\d+|sea\d+_ep\d+_sc\d+_utt\d+)", re.ASCII)
"""Name of an audio file. Some test utterances of the release have a second video, whose name begins so.

The second video holds what the table describes, and the first one does not.
"""


class _Row(NamedTuple):
    """A line of a table."""

    number: int
    name: str
    speaker: str
    emotion: str
    text: str


def read(path: Path) -> Corpus:
    """Read a folder of tables and audio, or one table and the audio below its folder.

    A folder that holds `train_sent_emo.csv` and so on, directly or one level below, is MELD. Otherwise all CSV files
    there that have MELD's columns are the parts of a corpus, whose title is the name of the folder. The name of a
    table, or of its folder, tells the part. The parts become the corpus' own split if all three are there.

    Raises:
        CorpusError: If there is no table, if two tables could be the same part, or a line does not parse.
    """
    root = path if path.is_dir() else path.parent
    official = _official(path)
    tables = official or _tables(path)
    if not tables:
        raise CorpusError(
            f"{path}: is not MELD; give the folder that holds {', '.join(_OFFICIAL.values())} or other tables with the"
            f" columns {', '.join(_MELD_NAME[1])}, Speaker, Emotion, directly or one level below, or one such table"
        )
    audio = _audio(root, tables)
    utterances, without_audio = [], []
    for part, file in tables.items():
        split = _SPLIT[part] if len(tables) == len(_SPLIT) else None
        for row in _rows(file):
            if official and (part, row.name) in _WITHOUT_CLIP:
                continue
            id, emotion = f"{part}/{row.name}" if part else row.name, canonical_emotion(row.emotion)
            if (part, row.name) in audio:
                utterances.append(
                    Utterance(id, audio[part, row.name], row.speaker, emotion, split=split, text=row.text)
                )
            else:
                without_audio.append((id, emotion))
    synthetic = is_synthetic(root)
    return Corpus(
        "meld",
        titled("MELD" if official else path.resolve().name, synthetic),
        path,
        tuple(utterances),
        expected=EXPECTED if official else None,
        without_audio=tuple(without_audio),
        synthetic=synthetic,
    )


def _official(path: Path) -> dict[str, Path]:
    """Return the tables with MELD's own names by part."""
    below = list(_csv_files(path))
    named = {part: [file for file in below if file.name == name] for part, name in _OFFICIAL.items()}
    return {part: files[0] for part, files in named.items() if files}


def _csv_files(folder: Path) -> Iterator[Path]:
    """Yield the CSV files of a folder, and then those one level below."""
    for pattern in ("*", "*/*"):
        for file in sorted(folder.glob(pattern)):
            hidden = any(is_hidden(name) for name in file.relative_to(folder).parts)
            if file.suffix.lower() == ".csv" and file.is_file() and not hidden:
                yield file


def _tables(path: Path) -> dict[str, Path]:
    """Return the tables in MELD's form by part. A single table may have none, "".

    Raises:
        CorpusError: If two tables could be the same part.
    """
    is_folder = path.is_dir()
    files = [file for file in _csv_files(path) if _is_table(file)] if is_folder else [path]
    found: dict[str, Path] = {}
    for file in files:
        parts = _parts_in(file.stem) or (_parts_in(file.parent.name) if is_folder and file.parent != path else [])
        if len(parts) > 1:
            raise CorpusError(f"{file}: its name could mean {' or '.join(parts)}; name one part, such as train.csv")
        part = next(iter(parts), "")
        if (first := found.setdefault(part, file)) != file:
            raise CorpusError(
                f"{file}: could be the same part as {first}; name the parts in the names of the tables, such as"
                " train.csv, dev.csv and test.csv, or give one table"
            )
    if "" in found and len(found) > 1:
        raise CorpusError(
            f"{found['']}: is a table beside {next(file for part, file in found.items() if part)}, but its name does"
            " not tell its part (train, dev or test); rename it, or give one table"
        )
    return {part: found[part] for part in (*_SPLIT, "") if part in found}


def _is_table(file: Path) -> bool:
    """Return whether a CSV file has the columns of a table, the speaker excepted, for which a message then asks."""
    columns = {_plain(name) for name in columns_of(file)}
    return any({_plain(name) for name in (*numbers, "Emotion")} <= columns for _, numbers in _AUDIO_NAMES)


def _parts_in(name: str) -> list[str]:
    """Return the parts that a name contains."""
    found = {"dev" if part == "val" else part for part in _PART.findall(name.lower())}
    return [part for part in _SPLIT if part in found]


def _plain(column: str) -> str:
    return re.sub(r"[\s_]+", "", column).lower()


def _rows(file: Path) -> Iterator[_Row]:
    """Yield the lines of a table. A line that repeats an utterance, as in the dyadic variant of MELD, counts once.

    Raises:
        CorpusError: If a column is missing, a line does not parse, or lines of one utterance differ.
    """
    actual = {_plain(column): column for column in columns_of(file)}
    known = (form for form in _AUDIO_NAMES if all(_plain(name) in actual for name in form[1]))
    form, numbers = next(known, _MELD_NAME)
    *places, speaker, emotion = (actual.get(_plain(name), name) for name in (*numbers, "Speaker", "Emotion"))
    first: dict[str, _Row] = {}
    for number, cells in read_label_table(file, (*places, speaker, emotion)):
        name, speakers = form.format(*(cells[place] for place in places)), _speakers(cells[speaker])
        row = _Row(number, name, speakers, cells[emotion], cells.get(actual.get("utterance", ""), ""))
        if not _AUDIO_NAME.fullmatch(name) or not row.speaker or not row.emotion:
            line = printable(",".join(cells.values()))
            raise CorpusError(
                f"{file}, line {number}: needs numbers ({', '.join(places)}), a speaker and an emotion: {line}"
            )
        earlier = first.setdefault(name, row)
        if (earlier.speaker, earlier.emotion) != (row.speaker, row.emotion):
            raise CorpusError(f"{file}, line {number}: {name} has another speaker or emotion in line {earlier.number}")
        if earlier is row:
            yield row


def _speakers(cell: str) -> str:
    """Return the speakers of a cell, which is a list of names in EmoryNLP: "['Monica', 'Ross']" -> "Monica, Ross"."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return cell
    return ", ".join(name.strip("'\" ") for name in cell[1:-1].split(","))


def _audio(root: Path, parts: Collection[str]) -> dict[tuple[str, str], Path]:
    """Return the audio files by part and name.

    Raises:
        CorpusError: If two files have the same part and name, or if a file could belong to several parts.
    """
    first: dict[tuple[str, str], Path] = {}
    final: dict[tuple[str, str], Path] = {}
    for file in audio_files(root, ANY_AUDIO):
        if not (match := _AUDIO_NAME.fullmatch(file.stem)):
            continue
        own = _parts_of_audio(file.relative_to(root).parts[:-1], parts)
        if len(own) > 1:
            raise CorpusError(
                f"{file}: could belong to {' or '.join(own)}; put each part into a folder of its own, such as train/,"
                " dev/ and test/"
            )
        for part in own:
            earlier = (final if match["final"] else first).setdefault((part, match["name"]), file)
            if earlier != file:
                of_part = f" of {part}" if part else ""
                raise CorpusError(
                    f"{file}: the utterance {match['name']}{of_part} is also in {earlier}; keep one of them"
                )
    return first | final


def _parts_of_audio(folders: Sequence[str], parts: Collection[str]) -> list[str]:
    """Return the parts that audio in nested folders can belong to: none if the folders name another part."""
    named = _parts_in(" ".join(folders))
    if not named or "" in parts:
        return list(parts)
    return [part for part in named if part in parts]
