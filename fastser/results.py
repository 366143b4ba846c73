"""One pair of files per finished training: measured once, never lost, never done twice.

`runs/<key>.npz` holds the posteriors of every utterance under every condition, `runs/<key>.json` everything else. The
JSON file is written last and is the commit point: a training is finished when both files can be read.
"""

import json
import logging
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fastser.cache import sweep, written_whole
from fastser.metrics import ConditionResult
from fastser.protocol import Cell

log = logging.getLogger(__name__)


class ResultsError(OSError):
    """A results folder or file that cannot be written or read: one sentence that names it."""


@dataclass(frozen=True, slots=True)
class TrainingId(Cell):
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

    id: TrainingId
    confusions: Mapping[str, NDArray[np.int64]]
    facts: Mapping[str, Any]


class ResultStore:
    """The finished trainings under one output folder, safe to share between processes and to kill at any moment.

    Raises:
        ResultsError: If the folder cannot be made or written.
    """

    def __init__(self, out: Path) -> None:
        self._runs = out / "runs"
        self._warned: set[str] = set()
        try:
            self._runs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._runs):
                pass
        except OSError as error:
            raise ResultsError(f"--out {out} cannot be written: {error.strerror}") from None
        sweep(out)
        sweep(self._runs)

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

    def collect(self, ids: Iterable[TrainingId]) -> list[Run]:
        """Read those of the given trainings that are finished, in the order given."""
        return [run for training in ids if (run := self._read(training.key)) is not None]

    def save(self, training: TrainingId, conditions: Mapping[str, ConditionResult], facts: Mapping[str, Any]) -> None:
        """Write a finished training, whole or not at all.

        Args:
            training: Its identity; files of the same key are replaced.
            conditions: What the model said, by condition name.
            facts: Settings, versions, seeds, wall time, history: plain JSON, without NaN.

        Raises:
            ResultsError: If the facts are not plain JSON, or the files cannot be written.
        """
        record = {
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
        try:
            with written_whole(self._npz(training.key)) as part, part.open("wb") as stream:
                np.savez_compressed(stream, **arrays)
            with written_whole(self._json(training.key)) as part:
                part.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ResultsError(f"{self._json(training.key)} cannot be written: {error.strerror}") from error

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Take one training for this process; False if another process has it, or it is finished.

        The claim ends with the block, or with the process however that ends.
        """
        path = self._runs / f"{key}.lock"
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield not self.finished(key)
        finally:
            done = self.finished(key)
            lock.release()
            if done:  # only then: whoever still holds the removed file finds the training finished
                with suppress(OSError):
                    path.unlink()

    def _json(self, key: str) -> Path:
        return self._runs / f"{key}.json"

    def _npz(self, key: str) -> Path:
        return self._runs / f"{key}.npz"

    def _read(self, key: str) -> Run | None:
        if not self._json(key).exists():
            return None
        try:
            record = json.loads(self._json(key).read_text(encoding="utf-8"))
            run = Run(
                id=TrainingId(**record["identity"]),
                confusions={
                    name: np.array(metrics["confusion"], np.int64) for name, metrics in record["conditions"].items()
                },
                facts=record["facts"],
            )
            with self._npz(key).open("rb") as stream, np.load(stream) as archive:
                if run.id.key != key or _conditions_in(archive) != list(run.confusions):
                    raise ValueError("the two files do not belong together")
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            if key not in self._warned:
                self._warned.add(key)
                log.warning("%s or its .npz is unusable (%s); this training is done again.", self._json(key), error)
            return None
        return run


def _metrics(result: ConditionResult) -> dict[str, Any]:
    return {
        "uar": result.uar,
        "accuracy": result.accuracy,
        "utterances": len(result.labels),
        "confusion": result.confusion.tolist(),
    }


def _conditions_in(archive: Any) -> list[str]:
    return [name.removesuffix("/posteriors") for name in archive.files if name.endswith("/posteriors")]
