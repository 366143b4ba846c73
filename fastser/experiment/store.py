"""Results folder: one pair of files per finished run.

`runs/<key>.npz` holds the posteriors of every utterance under every condition, `runs/<key>.json` everything else, with
checksums of both. The JSON file is written last and is the commit point: a run is finished when both files can be read
and have their checksums. A failed run has `runs/<key>.failed.json`, an unfinished run may have
`checkpoints/<key>.safetensors`. `log.jsonl` lists starts, ends and failures.
"""

import io
import json
import logging
import math
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fastser.evaluation.metrics import METRICS, ConditionResult, Metric
from fastser.experiment import events
from fastser.experiment.grid import RunId
from fastser.experiment.records import RECORD_FORMAT, content_of, counts, known_format, text_of
from fastser.runtime.code_digest import code_digest
from fastser.runtime.errors import UserError
from fastser.runtime.files import atomic_write, remove_stale_parts

log = logging.getLogger(__name__)


class ResultsError(UserError, OSError):
    """A results folder or file that cannot be written or read. The message names it."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert an OSError of the block to a ResultsError that names the file."""
    try:
        yield
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run without its posteriors.

    Attributes:
        id: Its identity.
        confusions: Confusion matrix by condition, int64 [classes, classes].
        by_speaker: Confusion matrices by condition and speaker.
        metrics: Values of all registered metrics, fractions, by condition and metric.
        metadata: Settings, versions, seeds, times and epochs.
    """

    id: RunId
    confusions: Mapping[str, NDArray[np.int64]]
    by_speaker: Mapping[str, Mapping[str, NDArray[np.int64]]]
    metrics: Mapping[str, Mapping[str, float]]
    metadata: Mapping[str, Any]

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the confusion matrices."""
        return list(self.metadata["classes"])


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed run.

    Attributes:
        id: Its identity.
        reason: The reason in one sentence.
        traceback: Python's traceback.
        environment: Machine and versions.
        date: Date of the last failure, UTC, ISO 8601.
        attempts: Number of failures.
    """

    id: RunId
    reason: str
    traceback: str
    environment: Mapping[str, str]
    date: str
    attempts: int


class ResultStore:
    """The runs in one results folder, which several processes may share and which survives a kill at any moment.

    Raises:
        ResultsError: If the folder cannot be made or written, or holds results of another format.
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
        self._check_format()
        for folder in (out, self._runs, self._checkpoints, out / "models"):
            remove_stale_parts(folder)

    def finished(self, key: str) -> bool:
        """Return whether both files of a run are there and undamaged. Damaged ones are reported with one warning."""
        return self._read(key) is not None

    def load(self, key: str) -> Run:
        """Read a finished run.

        Raises:
            ResultsError: If the run is not finished.
        """
        run = self._read(key)
        if run is None:
            raise ResultsError(f"{self._json(key)}: there is no finished run with this key")
        return run

    def posteriors(self, key: str) -> dict[str, ConditionResult]:
        """Read the predictions of a finished run, by condition."""
        with np.load(self._npz(key)) as archive:
            return {
                condition: ConditionResult(
                    archive[f"{condition}/posteriors"],
                    archive[f"{condition}/labels"],
                    archive[f"{condition}/utterance_ids"].tolist(),
                    archive[f"{condition}/speakers"].tolist(),
                )
                for condition in _conditions_in(archive)
            }

    def collect(self, ids: Iterable[RunId]) -> list[Run]:
        """Read those of the given runs that are finished, in the order given."""
        return [run for run_id in ids if (run := self._read(run_id.key)) is not None]

    def save(self, run_id: RunId, conditions: Mapping[str, ConditionResult], metadata: Mapping[str, Any]) -> None:
        """Write a finished run, completely or not at all, and remove its checkpoint and failure.

        Args:
            run_id: Its identity. Files of the same key are replaced.
            conditions: Predictions by condition.
            metadata: Settings, versions, seeds, times and epochs: plain JSON without NaN.

        Raises:
            ResultsError: If the metadata are not plain JSON, or the files cannot be written.
        """
        content = {
            "key": run_id.key,
            "identity": run_id.to_json(),
            "conditions": {name: _condition_record(result, run_id.key) for name, result in conditions.items()},
            "metadata": metadata,
        }
        arrays: dict[str, Any] = {}
        for name, result in conditions.items():
            arrays[f"{name}/posteriors"] = result.posteriors
            arrays[f"{name}/labels"] = result.labels
            arrays[f"{name}/utterance_ids"] = np.array(result.utterance_ids, dtype=np.str_)
            arrays[f"{name}/speakers"] = np.array(result.speakers, dtype=np.str_)
        posteriors = io.BytesIO()
        np.savez_compressed(posteriors, **arrays)
        try:
            text = text_of(content | {"posteriors_crc32": zlib.crc32(posteriors.getbuffer())})
        except (TypeError, ValueError) as error:
            raise ResultsError(f"the metadata of {run_id.label} are not plain JSON: {error}") from None
        with writing(self._json(run_id.key)):
            with atomic_write(self._npz(run_id.key)) as part:
                part.write_bytes(posteriors.getbuffer())
            with atomic_write(self._json(run_id.key)) as part:
                part.write_text(text, encoding="utf-8")
        self._remove_attempts(run_id.key)

    def fail(self, run_id: RunId, reason: str, traceback: str, environment: Mapping[str, str]) -> Failure:
        """Record that a run failed, and remove its checkpoint, from which it would fail again.

        Raises:
            ResultsError: If the record cannot be written.
        """
        earlier = self.failure(run_id.key)
        attempts = 1 + (earlier.attempts if earlier else 0)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        failure = Failure(run_id, reason, traceback, environment, date, attempts)
        record = {"format": RECORD_FORMAT, **asdict(failure), "id": run_id.to_json()}
        path = self._failed(run_id.key)
        with writing(path), atomic_write(path) as part:
            part.write_text(json.dumps(record, indent=1), encoding="utf-8")
        with suppress(OSError):
            self.checkpoint(run_id.key).unlink()
        return failure

    def failure(self, key: str, *, again: bool = False) -> Failure | None:
        """Read the failure of a run. Return None if it did not fail, or has finished since.

        Args:
            key: Key of the run.
            again: Read the failure of a finished run that was to be made again, too.
        """
        path = self._failed(key)
        if not path.exists() or (self.finished(key) and not again):
            return None
        try:
            record = known_format(json.loads(path.read_text(encoding="utf-8")))
            failure = Failure(
                id=RunId.from_json(record["id"]),
                reason=str(record["reason"]),
                traceback=str(record["traceback"]),
                environment=dict(record["environment"]),
                date=str(record["date"]),
                attempts=int(record["attempts"]),
            )
            if failure.id.key != key:
                raise ValueError("it belongs to another run")
        except Exception as error:  # a foreign file can be wrong in any way
            self._warn(path, error, "this run is tried again")
            return None
        return failure

    def failures(self, ids: Iterable[RunId]) -> list[Failure]:
        """Read the failures of those of the given runs that failed, in the order given."""
        return [failure for run_id in ids if (failure := self.failure(run_id.key)) is not None]

    def checkpoint(self, key: str) -> Path:
        """Return the path of an unfinished run's checkpoint (`fastser.training.checkpoint`)."""
        return self._checkpoints / f"{key}.safetensors"

    def weights(self, key: str) -> Path:
        """Return the path of a run's trained weights, which exist if they were kept."""
        return self._out / "models" / f"{key}.safetensors"

    def note(self, event: events.Event, key: str) -> None:
        """Add a line to `log.jsonl`.

        Raises:
            ResultsError: If the line cannot be written.
        """
        with writing(self._out / "log.jsonl"):
            events.append(self._out / "log.jsonl", event, key)

    @contextmanager
    def claim(self, key: str, *, again: bool = False) -> Iterator[bool]:
        """Claim a run for this process. Yield False if another process has claimed it, or if it is finished.

        Args:
            key: Key of the run.
            again: Claim a finished run too.

        The claim ends with the block, or with the process. It is a lock of the kernel (`flock`) on `runs/<key>.lock`,
        so neither the existence of the file nor a clock matters. On NFS, Linux locks the file on the server, so that
        machines exclude each other. The lock of a machine that died is freed when the server's lease ends, on NFSv4
        after some 90 seconds. On a file system without locks, `filelock` warns and relies on the existence of the
        file, which a crash leaves behind.

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
            yield again or not self.finished(key)
        finally:
            done = self.finished(key)
            if done and not again:
                self._remove_attempts(key)
            lock.release()
            if done:  # a process that still holds the removed file finds the run finished
                with suppress(OSError):
                    path.unlink()

    def _check_format(self) -> None:
        """Mark the folder with the format of its records, or refuse a folder with other records."""
        marker = self._runs / "format"
        try:
            # in this order: another process writes the marker before its first record
            has_records = any(self._runs.glob("*.json"))
            found = marker.read_text(encoding="utf-8").strip() if marker.exists() else None
            if found is None and not has_records:
                with atomic_write(marker) as part:
                    part.write_text(f"{RECORD_FORMAT}\n", encoding="utf-8")
                return
        except (OSError, UnicodeDecodeError) as error:
            raise ResultsError(f"{marker} cannot be read or written: {error}") from None
        if found != str(RECORD_FORMAT):
            raise ResultsError(
                f"--out {self._out} holds results of another version of fastser (format {found or 1}, this version "
                f"writes format {RECORD_FORMAT}), which cannot be continued; give another folder"
            )

    def _metrics(self, key: str, conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
        """Return the recorded metrics, and compute those that are not recorded or whose code may have changed."""
        fresh = {
            metric.name
            for metric in METRICS.values()
            if code_digest(metric.of) is not None or any(metric.name not in record for record in conditions.values())
        }
        results = self.posteriors(key) if fresh else {}
        return {
            name: {
                metric.name: _value(metric, results[name], key) if metric.name in fresh else float(record[metric.name])
                for metric in METRICS.values()
            }
            for name, record in conditions.items()
        }

    def _json(self, key: str) -> Path:
        return self._runs / f"{key}.json"

    def _npz(self, key: str) -> Path:
        return self._runs / f"{key}.npz"

    def _failed(self, key: str) -> Path:
        return self._runs / f"{key}.failed.json"

    def _remove_attempts(self, key: str) -> None:
        for path in (self._failed(key), self.checkpoint(key)):
            with suppress(OSError):
                path.unlink()

    def _read(self, key: str) -> Run | None:
        if not self._json(key).exists():
            return None
        try:
            content, posteriors = content_of(self._json(key).read_text(encoding="utf-8")), self._npz(key).read_bytes()
            conditions = content["conditions"]
            with np.load(io.BytesIO(posteriors)) as archive:
                if content["key"] != key or _conditions_in(archive) != list(conditions):
                    raise ValueError("the two files do not belong together")
            if zlib.crc32(posteriors) != content["posteriors_crc32"]:
                raise ValueError("the checksum of the .npz is wrong")
            run_id, metadata = RunId.from_json(content["identity"]), dict(content["metadata"])
            by_speaker = {
                name: {speaker: counts(matrix) for speaker, matrix in values["by_speaker"].items()}
                for name, values in conditions.items()
            }
            confusions = {name: counts(values["confusion"]) for name, values in conditions.items()}
            sums = {name: np.sum([*of_speakers.values()], axis=0) for name, of_speakers in by_speaker.items()}
            if any((sums[name] != confusion).any() for name, confusion in confusions.items()):
                raise ValueError("the confusion matrices of its speakers do not add up")
            if run_id.key != key:
                raise ValueError("it belongs to another run")
        except Exception as error:  # a foreign file can be wrong in any way
            self._warn(self._json(key), error, "this run is done again", " or its .npz")
            return None
        return Run(run_id, confusions, by_speaker, self._metrics(key, conditions), metadata)

    def _warn(self, path: Path, error: Exception, consequence: str, or_another: str = "") -> None:
        if path.name not in self._warned:
            self._warned.add(path.name)
            log.warning("%s%s is unusable (%s); %s.", path, or_another, error or type(error).__name__, consequence)


def _value(metric: Metric, result: ConditionResult, key: str) -> float:
    """Compute a metric.

    Raises:
        ResultsError: If a registered metric fails or is not a number.
    """
    try:
        value = float(metric.of(result))
    except Exception as error:  # a registered metric can be wrong in any way
        raise ResultsError(f"metric '{metric.name}' fails on run {key}: {type(error).__name__}: {error}") from error
    if not math.isfinite(value):
        raise ResultsError(f"metric '{metric.name}' is {value} for run {key}; it must be a finite number")
    return value


def _condition_record(result: ConditionResult, key: str) -> dict[str, Any]:
    return {
        **{metric.name: _value(metric, result, key) for metric in METRICS.values()},
        "utterances": len(result.labels),
        "confusion": result.confusion.tolist(),
        "by_speaker": {speaker: counts.tolist() for speaker, counts in result.by_speaker.items()},
    }


def _conditions_in(archive: Any) -> list[str]:
    return [name.removesuffix("/posteriors") for name in archive.files if name.endswith("/posteriors")]
