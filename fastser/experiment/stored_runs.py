"""Reading of a results folder, which needs no right to write into it."""

import io
import json
import logging
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastser.evaluation.metrics import METRICS, ConditionResult, Metric
from fastser.experiment.grid import RunId
from fastser.experiment.records import RECORD_FORMAT, confusion_of, content_of, known_format
from fastser.experiment.results_folder import ResultsError
from fastser.runtime.code_digest import code_digest
from fastser.runtime.files import printable

log = logging.getLogger(__name__)


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

    @property
    def seconds(self) -> float | None:
        """Seconds of training and tests, or None where they are not recorded."""
        parts = [self.metadata.get(name) for name in ("training_seconds", "test_seconds")]
        return None if None in parts else float(sum(part for part in parts if part is not None))


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


class StoredRuns:
    """The runs in a results folder. Nothing is written, also where the folder allows it.

    Args:
        out: Results folder. It may be missing, and then holds no run.

    Raises:
        ResultsError: If the folder holds results of another format.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._runs = out / "runs"
        self._warned: set[str] = set()
        self._format = self._checked_format()

    def find(self, key: str) -> Run | None:
        """Read a run. Return None if it is not finished, and if its files are damaged, which gives one warning."""
        if not self._json(key).exists():
            return None
        try:
            content, posteriors = content_of(self._json(key).read_text(encoding="utf-8")), self._npz(key).read_bytes()
            conditions = content["conditions"]
            with np.load(io.BytesIO(posteriors)) as archive:
                if content["key"] != key or conditions_in(archive) != list(conditions):
                    raise ValueError("the two files do not belong together")
            if zlib.crc32(posteriors) != content["posteriors_crc32"]:
                raise ValueError("the checksum of the .npz is wrong")
            run_id, metadata = RunId.from_json(content["identity"]), dict(content["metadata"])
            by_speaker = {
                name: {speaker: confusion_of(matrix) for speaker, matrix in values["by_speaker"].items()}
                for name, values in conditions.items()
            }
            confusions = {name: confusion_of(values["confusion"]) for name, values in conditions.items()}
            sums = {name: np.sum([*of_speakers.values()], axis=0) for name, of_speakers in by_speaker.items()}
            if any((sums[name] != confusion).any() for name, confusion in confusions.items()):
                raise ValueError("the confusion matrices of its speakers do not add up")
            if run_id.key != key:
                raise ValueError("it belongs to another run")
        except Exception as error:  # a foreign file can be wrong in any way
            self._warn(self._json(key), error, "this run is done again", " or its .npz")
            return None
        return Run(run_id, confusions, by_speaker, self._metrics(key, conditions), metadata)

    def finished(self, key: str, *, with_weights: bool = False) -> bool:
        """Return whether both files of a run are there and undamaged. Damaged ones are reported with one warning.

        Args:
            key: Key of the run.
            with_weights: Count a run as finished only if its weights were kept.
        """
        return self.find(key) is not None and (not with_weights or self.weights(key).exists())

    def load(self, key: str) -> Run:
        """Read a finished run.

        Raises:
            ResultsError: If the run is not finished.
        """
        run = self.find(key)
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
                for condition in conditions_in(archive)
            }

    def collect(self, ids: Iterable[RunId]) -> list[Run]:
        """Read those of the given runs that are finished, in the order given."""
        return [run for run_id in ids if (run := self.find(run_id.key)) is not None]

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

    def weights(self, key: str) -> Path:
        """Return the path of a run's trained weights, which exist if they were kept."""
        return self._out / "models" / f"{key}.safetensors"

    def _checked_format(self) -> int | None:
        """Return the format of the records, or None if the folder has neither a record nor a marker.

        Raises:
            ResultsError: If it is not that of this version.
        """
        marker = self._runs / "format"
        try:
            # in this order: another process writes the marker before its first record
            has_records = any(self._runs.glob("*.json"))
            found = marker.read_text(encoding="utf-8").strip() if marker.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise ResultsError(f"{marker} cannot be read: {error}") from None
        if found is None and not has_records:
            return None
        if found != str(RECORD_FORMAT):
            raise ResultsError(
                f"{printable(self._out)} holds results of another version of fastser (format {found or 1}, this "
                f"version reads and writes format {RECORD_FORMAT}); give another folder"
            )
        return RECORD_FORMAT

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
                metric.name: value_of(metric, results[name], key)
                if metric.name in fresh
                else float(record[metric.name])
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

    def _warn(self, path: Path, error: Exception, consequence: str, or_another: str = "") -> None:
        if path.name not in self._warned:
            self._warned.add(path.name)
            log.warning("%s%s is unusable (%s); %s.", path, or_another, error or type(error).__name__, consequence)


def value_of(metric: Metric, result: ConditionResult, key: str) -> float:
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


def conditions_in(archive: Any) -> list[str]:
    """Return the names of the conditions of an archive of posteriors."""
    return [name.removesuffix("/posteriors") for name in archive.files if name.endswith("/posteriors")]
