"""Files of predictions: CSV in the segmented form of audformat, or JSON lines, written file by file and resumed."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from fastser.recognition.recogniser import Record
from fastser.runtime.digests import digest
from fastser.runtime.files import atomic_write, printable, storable

_INDEX = ("file", "start", "end")

_DECIMALS = 6
"""Decimals of posteriors, and of seconds in JSON lines. Further ones depend on the other files of a batch."""


class PredictionsError(ValueError):
    """A file of predictions that cannot be continued. The message is one sentence."""


def timedelta_text(seconds: float) -> str:
    """Return a duration as pandas and audformat write it.

    Example:
        >>> timedelta_text(0), timedelta_text(61.5)
        ('0 days 00:00:00', '0 days 00:01:01.500000')
    """
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    minutes, seconds_left = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    fraction = f".{microseconds:06d}" if microseconds else ""
    return f"{days} days {hours:02d}:{minutes:02d}:{seconds_left:02d}{fraction}"


def header(classes: Sequence[str], kind: str) -> str:
    """Return the first line of a file of predictions, which JSON lines do not have."""
    return _csv_line([*_INDEX, "label", *(f"p_{name}" for name in classes)]) if kind == "csv" else ""


def text_of(records: Sequence[Record], kind: str) -> str:
    """Return the lines of the predictions of one file.

    Args:
        records: The predictions.
        kind: "csv" or "jsonl".
    """
    if kind == "jsonl":
        return "".join(json.dumps(_rounded(record), ensure_ascii=False) + "\n" for record in records)
    return "".join(_csv_line(_csv_values(record)) for record in records)


def _rounded(record: Record) -> Record:
    """Return a record whose numbers have as many decimals as in CSV."""
    numbers = {name: round(value, _DECIMALS) for name, value in record.items() if isinstance(value, float)}
    return {**record, **numbers, "file": storable(str(record["file"]))}


def _csv_values(record: Record) -> list[str]:
    posteriors = [f"{value:.{_DECIMALS}f}" for name, value in record.items() if name.startswith("p_")]
    times = (timedelta_text(record["start"]), timedelta_text(record["end"]))
    return [storable(str(record["file"])), *times, record["label"], *posteriors]


def _csv_line(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


class PredictionFile:
    """A file of predictions that grows by the predictions of one audio file at a time.

    A file `NAME.json` beside it records the model and the options, so that predictions of different models are never
    mixed. What an interrupted command has written incompletely is removed.

    Args:
        path: The file.
        classes: Names of the classes.
        kind: "csv" or "jsonl".
        identity: Model and options, as plain JSON.

    Attributes:
        done: Audio files that the file holds, as they are written there.

    Raises:
        PredictionsError: If the file exists and holds predictions of another model or with other options.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: Path, classes: Sequence[str], kind: str, identity: Mapping[str, Any]) -> None:
        self._kind = kind
        record = {"classes": list(classes), "format": kind, **identity}
        beside = path.with_name(f"{path.name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._check(path, beside, record)
        else:
            with atomic_write(beside) as part:
                part.write_text(json.dumps(record | {"check": digest(record)}, indent=1) + "\n", encoding="utf-8")
        whole, self.done = _complete_lines(path, kind)
        start = whole or header(classes, kind)
        with atomic_write(path) as part:
            part.write_text(start, encoding="utf-8", newline="")
        self._stream: TextIO = path.open("a", encoding="utf-8", newline="", buffering=1 << 20)

    def _check(self, path: Path, beside: Path, record: Mapping[str, Any]) -> None:
        advice = "give another --out, or remove it"
        try:
            found = json.loads(beside.read_text(encoding="utf-8"))["check"]
        except (OSError, ValueError, KeyError, TypeError):
            raise PredictionsError(
                f"{printable(path)}: exists, and {beside.name} does not tell which model wrote it; {advice}"
            ) from None
        if found != digest(record):
            raise PredictionsError(
                f"{printable(path)}: holds predictions of another model or with other options, or was begun in another "
                f"folder with relative paths; {advice}"
            )

    def add(self, records: Sequence[Record]) -> None:
        """Write the predictions of one audio file."""
        self._stream.write(text_of(records, self._kind))
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()


def _complete_lines(path: Path, kind: str) -> tuple[str, set[str]]:
    """Return the text of a file without an incomplete end, and the audio files whose predictions it holds.

    Where the last line is incomplete, all lines of its audio file are left out.
    """
    if not path.exists():
        return "", set()
    text = path.read_bytes().decode("utf-8", "replace")
    whole = text[: text.rfind("\n") + 1]
    if kind == "csv":
        first, *rows = csv.reader(io.StringIO(whole, newline="")) if whole else [[]]
        names = [row[0] for row in rows]
        lines = [_csv_line(first), *map(_csv_line, rows)] if whole else []
    else:
        lines = io.StringIO(whole, newline="\n").readlines()  # splitlines would split at U+2028 too
        names = [str(json.loads(line)["file"]) for line in lines]
    if whole != text and names:
        last = names[-1]
        keep = len(lines) - names.count(last)
        lines, names = lines[:keep], [name for name in names if name != last]
    return "".join(lines), set(names)
