"""Results folder: one pair of files per finished run.

`runs/<key>.npz` holds the posteriors of every utterance under every condition, `runs/<key>.json` everything else, with
checksums of both. The JSON file is written last and is the commit point: a run is finished when both files can be read
and have their checksums. A failed run has `runs/<key>.failed.json`, an unfinished run may have
`checkpoints/<key>.safetensors`. `log.jsonl` lists starts, ends and failures.
"""

import io
import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from fastser.evaluation.metrics import METRICS, ConditionResult
from fastser.experiment import events
from fastser.experiment.grid import RunId
from fastser.experiment.records import RECORD_FORMAT, text_of
from fastser.experiment.results_folder import ResultsError
from fastser.experiment.stored_runs import Failure, StoredRuns, value_of
from fastser.runtime.files import atomic_write, remove_stale_parts


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert an OSError of the block to a ResultsError that names the file."""
    try:
        yield
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror}") from error


class ResultStore(StoredRuns):
    """The runs in one results folder, which several processes may share and which survives a kill at any moment.

    Raises:
        ResultsError: If the folder cannot be made or written, or holds results of another format.
    """

    def __init__(self, out: Path) -> None:
        self._checkpoints = out / "checkpoints"
        runs = out / "runs"
        try:
            runs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=runs):
                pass
        except OSError as error:
            raise ResultsError(f"--out {out} cannot be written: {error.strerror}") from None
        super().__init__(out)
        if self._format is None:
            with writing(runs / "format"), atomic_write(runs / "format") as part:
                part.write_text(f"{RECORD_FORMAT}\n", encoding="utf-8")
        for folder in (out, runs, self._checkpoints, out / "models"):
            remove_stale_parts(folder)

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

    def fail(
        self,
        run_id: RunId,
        reason: str,
        traceback: str,
        environment: Mapping[str, str],
        *,
        keep_checkpoint: bool = False,
    ) -> Failure:
        """Record that a run failed, and remove its checkpoint, from which it would fail again.

        Args:
            run_id: Its identity.
            reason: The reason in one sentence.
            traceback: Python's traceback.
            environment: Machine and versions.
            keep_checkpoint: Keep the checkpoint, because the reason may be gone when the run is tried again.

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
        if not keep_checkpoint:
            with suppress(OSError):
                self.checkpoint(run_id.key).unlink()
        return failure

    def checkpoint(self, key: str) -> Path:
        """Return the path of an unfinished run's checkpoint (`fastser.training.checkpoint`)."""
        return self._checkpoints / f"{key}.safetensors"

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

    def _remove_attempts(self, key: str) -> None:
        for path in (self._failed(key), self.checkpoint(key)):
            with suppress(OSError):
                path.unlink()


def _condition_record(result: ConditionResult, key: str) -> dict[str, Any]:
    return {
        **{metric.name: value_of(metric, result, key) for metric in METRICS.values()},
        "utterances": len(result.labels),
        "confusion": result.confusion.tolist(),
        "by_speaker": {speaker: counts.tolist() for speaker, counts in result.by_speaker.items()},
    }
