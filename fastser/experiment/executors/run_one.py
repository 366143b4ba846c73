"""One training from claim to result: what every executor does with a cell of the plan, in whichever process."""

import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from fastser.experiment.executors import Listener, Outcome
from fastser.experiment.executors.failures import device_is_lost, in_one_sentence, out_of_gpu_memory
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint
from fastser.experiment.store import Failure, ResultsError, ResultStore, RunId, writing
from fastser.runtime.device import DeviceError
from fastser.runtime.files import atomic_write
from fastser.runtime.provenance import environment
from fastser.training.batch_size import free_memory, is_out_of_gpu_memory
from fastser.training.checkpoint import Checkpoint, CheckpointError, TrainingStopped


@dataclass(frozen=True)
class Runner:
    """How one cell after the other is run in this process.

    Attributes:
        experiment: Data and settings.
        store: Where results go; a result is there before its outcome is returned.
        keep_models_in: Folder in which trained weights are kept as `models/<key>.safetensors`; None keeps none.
        stop: When it is set, nothing is begun, and the running training writes its checkpoint and stops between two
            batches.
        checkpoint_seconds: Least time between two checkpoints of a training.
        retry_failed: Try again what had failed before this job first came to it.
    """

    experiment: Experiment
    store: ResultStore
    keep_models_in: Path | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    checkpoint_seconds: float = 180.0
    retry_failed: bool = False
    _failed_before: dict[str, Failure | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def run(self, cell: GridPoint, listener: Listener) -> Outcome | None:
        """Claim a training, go on with it from where it was, and save its results or why it failed.

        Returns:
            What became of it, a failure too; None if another process has claimed it.

        Raises:
            TrainingStopped: If `stop` was set before it ended.
            ResultsError: If the store cannot be written: no training can be run.
            DeviceError: If the training failed and left a GPU that cannot be used any more; the failure is saved.
        """
        if self.stop.is_set():
            raise TrainingStopped
        training = self.experiment.identify(cell)
        before = self._failed_before.setdefault(training.key, self.store.failure(training.key))
        with self.store.claim(training.key) as mine:
            if not mine:
                return Outcome(training, None, {}) if self.store.finished(training.key) else None
            failure = self.store.failure(training.key)
            if failure is not None and not (self.retry_failed and failure == before):
                return Outcome(training, None, {}, failure.reason)
            return self._run(cell, training, listener)

    def _run(self, cell: GridPoint, training: RunId, listener: Listener) -> Outcome:
        checkpoint = Checkpoint(
            self.store.checkpoint(training.key),
            training.key,
            self.experiment.device,
            self.stop,
            self.checkpoint_seconds,
        )
        self.store.note("continued" if checkpoint.found else "started", training.key)
        listener.started(training)
        testing: list[str] = []

        def on_condition(name: str) -> None:
            testing.append(name)
            listener.condition(name)

        began = time.perf_counter()
        try:
            results, facts, weights = self.experiment.run(cell, listener.epoch, on_condition, checkpoint)
        except TrainingStopped:
            self.store.note("stopped", training.key)
            raise
        except CheckpointError as error:
            raise ResultsError(str(error)) from error
        except Exception as error:
            trace, reason, memory_is_full = traceback.format_exc(), in_one_sentence(error), is_out_of_gpu_memory(error)
        else:
            seconds = time.perf_counter() - began
            if self.keep_models_in is not None:
                _keep(weights, self.keep_models_in / "models" / f"{training.key}.safetensors")
            self.store.save(training, results, facts)
            self.store.note("finished", training.key)
            return Outcome(training, seconds, results)
        free_memory()  # the failed step is gone from the stack, and with it what its tensors held
        if memory_is_full:
            reason = out_of_gpu_memory(self.experiment, cell.model, testing[-1] if testing else None)
        self.store.fail(training, reason, trace, environment(str(self.experiment.device)))
        self.store.note("failed", training.key)
        if device_is_lost(self.experiment.device):
            raise DeviceError(
                f"{training.corpus}: {training.label}: {reason}; this process cannot use {self.experiment.device} any "
                "more, the same command goes on with the other trainings"
            )
        return Outcome(training, time.perf_counter() - began, {}, reason)


def _keep(weights: dict[str, Tensor], path: Path) -> None:
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(save({name: value.contiguous() for name, value in weights.items()}))
