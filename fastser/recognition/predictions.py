"""Files of predictions: CSV in the segmented form of audformat, or JSON lines, written file by file and resumed."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from fastser.recognition.recogniser import Record
from fastser.runtime.digests import digest
from fastser.runtime.errors import UserError
from fastser.runtime.files import atomic_write, lock_file, naming_full_disk, printable, storable

_ADVICE = "give another --out, or remove it"

_INDEX = ("file", "start", "end")

_DECIMALS = 6
"""Decimals of posteriors, and of seconds in JSON lines. Further ones depend on the other files of a batch."""


class PredictionsError(UserError, ValueError):
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
    mixed. What an interrupted command has written incompletely is removed. That file is locked until `close`, so that
    only one command writes.

    Args:
        path: The file.
        classes: Names of the classes.
        kind: "csv" or "jsonl".
        identity: Model and options, as plain JSON.

    Attributes:
        done: Audio files that the file holds, as they are written there.

    Raises:
        PredictionsError: If the file holds predictions of another model or with other options, or a damaged line, or
            if another process writes it.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: Path, classes: Sequence[str], kind: str, identity: Mapping[str, Any]) -> None:
        self._kind = kind
        record = {"classes": list(classes), "format": kind, **identity}
        beside = path.with_name(f"{path.name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            self._beside = stack.enter_context(_locked(path, beside))
            if path.exists():
                self._check(path, record)
            else:
                with naming_full_disk(beside):
                    self._write_beside(record)
            start, self.done = _complete_lines(path, header(classes, kind), kind)
            with atomic_write(path) as part:
                part.write_text(start, encoding="utf-8", newline="")
            self._stream: TextIO = path.open("a", encoding="utf-8", newline="", buffering=1 << 20)
            stack.pop_all()  # the lock is held until `close`

    def _check(self, path: Path, record: Mapping[str, Any]) -> None:
        self._beside.seek(0)
        try:
            found = json.loads(self._beside.read())
            same = found["check"] == digest(record)
        except (ValueError, KeyError, TypeError):
            raise PredictionsError(_unknown_writer(path)) from None
        if not same:
            differences = " and ".join(_differences(found, record))
            raise PredictionsError(
                f"{printable(path)}: was written with {differences}; {_ADVICE}"
                if differences
                else _unknown_writer(path)
            )

    def _write_beside(self, record: Mapping[str, Any]) -> None:
        """Write the model and the options. As long as there are no predictions, nobody reads an incomplete record."""
        text = json.dumps({**record, "check": digest(record)}, indent=1).encode() + b"\n"
        self._beside.truncate(0)
        while text:  # a disk that fills up takes a part and raises at the rest
            text = text[self._beside.write(text) :]
        os.fsync(self._beside.fileno())

    def add(self, records: Sequence[Record]) -> None:
        """Write the predictions of one audio file."""
        self._stream.write(text_of(records, self._kind))
        self._stream.flush()

    def close(self) -> None:
        """Close the file, so that another command may write it."""
        with self._beside:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()


def _locked(path: Path, beside: Path) -> BinaryIO:
    """Open the record beside a file of predictions, and lock it. The predictions are replaced, so they have no lock.

    Raises:
        PredictionsError: If there are predictions without a record, or another process holds the lock.
    """
    try:
        stream = beside.open("r+b" if path.exists() else "a+b", buffering=0)
    except FileNotFoundError:
        raise PredictionsError(_unknown_writer(path)) from None
    if not lock_file(stream):
        stream.close()
        raise PredictionsError(
            f"{printable(path)}: another command writes this file, or its file system has no locks; wait for that "
            "command, or give another --out"
        )
    return stream


def _differences(found: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield each option of a record that differs from the one now, as the command line names it."""
    for before, after in zip(_described(found), _described(now), strict=True):
        if before != after:
            yield f"{before} (now {after})"


def _described(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return model, options and folder of a record as texts."""
    model, digits, hop = record.get("model"), str(record.get("sha256"))[:8], record.get("hop")
    return (
        f"the model {printable(str(model))} of SHA-256 {digits}",
        f"--format {record.get('format')}",
        f"--per {record.get('per')}",
        "the default --hop" if hop is None else f"--hop {hop}",
        f"paths relative to {printable(str(record['folder']))}" if "folder" in record else "absolute paths",
    )


def _unknown_writer(path: Path) -> str:
    return f"{printable(path)}: exists, and {path.name}.json does not tell which model wrote it; {_ADVICE}"


def _complete_lines(path: Path, first: str, kind: str) -> tuple[str, set[str]]:
    """Return the text of a file without an incomplete end, and the audio files whose predictions it holds.

    Where the last line is incomplete, all lines of its audio file are left out. Empty lines are left out too.

    Args:
        path: The file, which may be missing.
        first: First line of a complete file.
        kind: "csv" or "jsonl".

    Raises:
        PredictionsError: If another line is not one that `text_of` writes.
    """
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        return first, set()
    read = _read_csv if kind == "csv" else _read_json_lines
    try:
        found = read(whole.decode("utf-8"), first)
    except UnicodeDecodeError as error:
        raise PredictionsError(_damaged(path, whole.count(b"\n", 0, error.start) + 1)) from None
    except _LineError as error:
        raise PredictionsError(_damaged(path, error.number)) from None
    if whole != content and found:
        last, _ = found[-1]
        found = [(name, line) for name, line in found if name != last]
    return first + "".join(line for _, line in found), {name for name, _ in found}


class _LineError(Exception):
    """A damaged line.

    Attributes:
        number: Number of the line, from 1.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _damaged(path: Path, number: int) -> str:
    return (
        f"{printable(path)}: line {number} is damaged; repair it, remove all lines of its audio file, which is then "
        "labelled again, or give another --out"
    )


def _read_csv(text: str, first: str) -> list[tuple[str, str]]:
    """Return the audio file and the text of each line after the first one."""
    (columns,) = csv.reader([first])
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error:
        raise _LineError(reader.line_num) from None
    for index, (number, row) in enumerate(rows):
        if len(row) != len(columns) or (index == 0 and row != columns):
            raise _LineError(number)
    return [(row[0], _csv_line(row)) for _, row in rows[1:]]


def _read_json_lines(text: str, _first: str) -> list[tuple[str, str]]:
    """Return the audio file and the text of each line."""
    found = []
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):  # splitlines would split at U+2028 too
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise _LineError(number) from None
        if not isinstance(record, dict) or not isinstance(record.get("file"), str):
            raise _LineError(number)
        found.append((record["file"], line))
    return found
