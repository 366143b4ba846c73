"""One pair of files per finished training: measured once, never lost, never done twice.

`runs/<key>.npz` holds the posteriors of every utterance under every condition, `runs/<key>.json` everything else. The
JSON file is written last and is the commit point: a training is finished when both files can be read. A training that
failed has `runs/<key>.failed.json`, one that is under way may have `checkpoints/<key>.safetensors`. `log.jsonl` says
what was begun and what became of it.
"""

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fastser.data.corpora.base import PAPER_CLASSES
from fastser.evaluation.metrics import ConditionResult
from fastser.experiment import events
from fastser.experiment.grid import GridPoint
from fastser.runtime.files import atomic_write, remove_stale_parts

log = logging.getLogger(__name__)

RECORD_FORMAT = 1
"""Raised whenever the files of this version could not be read by an earlier one."""


class ResultsError(OSError):
    """A results folder or file that cannot be written or read: one sentence that names it."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a ResultsError that names the file."""
    try:
        yield
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class RunId(GridPoint):
    """A cell of the grid with the data and settings it is run with.

    Attributes:
        corpus: Title as people write it, "EMO-DB" or "EMO-DB -> RAVDESS".
        key: 16 hex digits that cover settings, data and identity; the name of its files.
    """

    corpus: str
    key: str


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training without its posteriors: identity, int64 [4, 4] confusion by condition, recorded facts."""

    id: RunId
    confusions: Mapping[str, NDArray[np.int64]]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A training that failed.

    Attributes:
        id: Which one.
        reason: Why, in one sentence.
        traceback: Where.
        environment: On what machine and versions.
        date: When it last failed, UTC, ISO 8601.
        attempts: How often it has failed.
    """

    id: RunId
    reason: str
    traceback: str
    environment: Mapping[str, str]
    date: str
    attempts: int


class ResultStore:
    """The trainings under one output folder, safe to share between processes and to kill at any moment.

    Raises:
        ResultsError: If the folder cannot be made or written.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._runs = out / "runs"
        self._checkpoints = out / "checkpoints"
        self._warned: set[str] = set()
        try:
            self._runs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._runs):
                pass
        except OSError as error:
            raise ResultsError(f"--out {out} cannot be written: {error.strerror}") from None
        for folder in (out, self._runs, self._checkpoints, out / "models"):
            remove_stale_parts(folder)

    def finished(self, key: str) -> bool:
        """Whether both files of the training are there and can be read; one warning is logged for torn ones."""
        return self._read(key) is not None

    def load(self, key: str) -> Run:
        """Read a finished training.

        Raises:
            ResultsError: If the training is not finished.
        """
        run = self._read(key)
        if run is None:
            raise ResultsError(f"{self._json(key)}: there is no finished training of this key")
        return run

    def posteriors(self, key: str) -> dict[str, ConditionResult]:
        """Read what the model of a finished training said about every utterance, by condition."""
        with np.load(self._npz(key)) as archive:
            return {
                condition: ConditionResult(
                    archive[f"{condition}/posteriors"],
                    archive[f"{condition}/labels"],
                    archive[f"{condition}/utterance_ids"].tolist(),
                )
                for condition in _conditions_in(archive)
            }

    def collect(self, ids: Iterable[RunId]) -> list[Run]:
        """Read those of the given trainings that are finished, in the order given."""
        return [run for training in ids if (run := self._read(training.key)) is not None]

    def save(self, training: RunId, conditions: Mapping[str, ConditionResult], facts: Mapping[str, Any]) -> None:
        """Write a finished training, whole or not at all, and forget its checkpoint and failures.

        Args:
            training: Its identity; files of the same key are replaced.
            conditions: What the model said, by condition name.
            facts: Settings, versions, seeds, wall time, history: plain JSON, without NaN.

        Raises:
            ResultsError: If the facts are not plain JSON, or the files cannot be written.
        """
        record = {
            "format": RECORD_FORMAT,
            "key": training.key,
            "identity": asdict(training),
            "conditions": {name: _metrics(result) for name, result in conditions.items()},
            "facts": facts,
        }
        try:
            text = json.dumps(record, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ResultsError(f"the facts of {training.label} are not plain JSON: {error}") from None
        arrays: dict[str, Any] = {}
        for name, result in conditions.items():
            arrays[f"{name}/posteriors"] = result.posteriors
            arrays[f"{name}/labels"] = result.labels
            arrays[f"{name}/utterance_ids"] = np.array(result.utterance_ids, dtype=np.str_)
        with writing(self._json(training.key)):
            with atomic_write(self._npz(training.key)) as part, part.open("wb") as stream:
                np.savez_compressed(stream, **arrays)
            with atomic_write(self._json(training.key)) as part:
                part.write_text(text, encoding="utf-8")
        self._forget_attempts(training.key)

    def fail(self, training: RunId, reason: str, traceback: str, environment: Mapping[str, str]) -> Failure:
        """Write down that a training failed, and forget its checkpoint: it would lead there again.

        Raises:
            ResultsError: If that cannot be written.
        """
        earlier = self.failure(training.key)
        attempts = 1 + (earlier.attempts if earlier else 0)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        failure = Failure(training, reason, traceback, environment, date, attempts)
        record = {"format": RECORD_FORMAT, **asdict(failure)}
        path = self._failed(training.key)
        with writing(path), atomic_write(path) as part:
            part.write_text(json.dumps(record, indent=1), encoding="utf-8")
        with suppress(OSError):
            self.checkpoint(training.key).unlink()
        return failure

    def failure(self, key: str) -> Failure | None:
        """How a training failed; None if it did not, or was finished since."""
        path = self._failed(key)
        if not path.exists() or self.finished(key):
            return None
        try:
            record = _known_format(json.loads(path.read_text(encoding="utf-8")))
            failure = Failure(
                id=RunId(**record["id"]),
                reason=str(record["reason"]),
                traceback=str(record["traceback"]),
                environment=dict(record["environment"]),
                date=str(record["date"]),
                attempts=int(record["attempts"]),
            )
            if failure.id.key != key:
                raise ValueError("it belongs to another training")
        except Exception as error:  # a foreign file can be wrong in any way
            self._warn(path, error, "this training is tried again")
            return None
        return failure

    def failures(self, ids: Iterable[RunId]) -> list[Failure]:
        """Read those of the given trainings that failed, in the order given."""
        return [failure for training in ids if (failure := self.failure(training.key)) is not None]

    def checkpoint(self, key: str) -> Path:
        """Where the state of an unfinished training is kept (`fastser.training.checkpoint`)."""
        return self._checkpoints / f"{key}.safetensors"

    def note(self, event: events.Event, key: str) -> None:
        """Add a line to `log.jsonl`.

        Raises:
            ResultsError: If it cannot be written.
        """
        with writing(self._out / "log.jsonl"):
            events.append(self._out / "log.jsonl", event, key)

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Take one training for this process; False if another process has it, or it is finished.

        The claim ends with the block, or with the process however that ends: it is a lock of the kernel (`flock`) on
        `runs/<key>.lock`, not the existence of the file, and no clock has a part in it. Linux turns it into a lock on
        the server where the folder lies on NFS, so machines exclude each other too; that of a machine that died is
        freed when the server's lease on it ends, on NFSv4 after some 90 seconds. A file system without locks makes
        `filelock` warn and fall back to the file's existence, which a crash leaves behind.

        Raises:
            ResultsError: If the lock file cannot be made.
        """
        path = self._runs / f"{key}.lock"
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise ResultsError(f"{path} cannot be locked: {error.strerror}") from error
        try:
            yield not self.finished(key)
        finally:
            done = self.finished(key)
            lock.release()
            if done:  # only then: whoever still holds the removed file finds the training finished
                with suppress(OSError):
                    path.unlink()
                self._forget_attempts(key)

    def _json(self, key: str) -> Path:
        return self._runs / f"{key}.json"

    def _npz(self, key: str) -> Path:
        return self._runs / f"{key}.npz"

    def _failed(self, key: str) -> Path:
        return self._runs / f"{key}.failed.json"

    def _forget_attempts(self, key: str) -> None:
        for path in (self._failed(key), self.checkpoint(key)):
            with suppress(OSError):
                path.unlink()

    def _read(self, key: str) -> Run | None:
        if not self._json(key).exists():
            return None
        try:
            record = _known_format(json.loads(self._json(key).read_text(encoding="utf-8")))
            run = Run(
                id=RunId(**record["identity"]),
                confusions={name: _confusion(metrics) for name, metrics in record["conditions"].items()},
                facts=dict(record["facts"]),
            )
            with self._npz(key).open("rb") as stream, np.load(stream) as archive:
                if run.id.key != key or _conditions_in(archive) != list(run.confusions):
                    raise ValueError("the two files do not belong together")
        except Exception as error:  # a foreign file can be wrong in any way
            self._warn(self._json(key), error, "this training is done again", " or its .npz")
            return None
        return run

    def _warn(self, path: Path, error: Exception, consequence: str, or_another: str = "") -> None:
        if path.name not in self._warned:
            self._warned.add(path.name)
            log.warning("%s%s is unusable (%s); %s.", path, or_another, error or type(error).__name__, consequence)


def _known_format(record: Any) -> dict[str, Any]:
    """A record as it was read, if this version knows its format."""
    found = dict(record)
    version = found.pop("format", RECORD_FORMAT)
    if version != RECORD_FORMAT:
        raise ValueError(f"its format is {version}, this version of fastser knows {RECORD_FORMAT}")
    return found


def _confusion(metrics: Mapping[str, Any]) -> NDArray[np.int64]:
    counts = np.array(metrics["confusion"], np.int64)
    if counts.shape != (len(PAPER_CLASSES), len(PAPER_CLASSES)) or counts.min() < 0:
        raise ValueError("a confusion matrix is none")
    return counts


def _metrics(result: ConditionResult) -> dict[str, Any]:
    return {
        "uar": result.uar,
        "accuracy": result.accuracy,
        "utterances": len(result.labels),
        "confusion": result.confusion.tolist(),
    }


def _conditions_in(archive: Any) -> list[str]:
    return [name.removesuffix("/posteriors") for name in archive.files if name.endswith("/posteriors")]
