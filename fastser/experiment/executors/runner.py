"""One run from claim to result: the part that every executor has in common, in any process."""

import threading
import time
import traceback
from dataclasses import dataclass, field

from fastser.experiment.descriptions import description_of_run
from fastser.experiment.executors.failures import device_is_lost, in_one_sentence, out_of_gpu_memory
from fastser.experiment.executors.outcomes import Listener, Outcome
from fastser.experiment.experiment import Experiment, TrainedModel
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.results_folder import ResultsError
from fastser.experiment.store import ResultStore, writing
from fastser.experiment.stored_runs import Failure, StoredRuns
from fastser.recognition.card import write_card
from fastser.recognition.model_file import write_model_file
from fastser.runtime.device import DeviceError
from fastser.runtime.full_memory import is_out_of_gpu_memory, is_out_of_memory
from fastser.training.batch_size import free_memory
from fastser.training.checkpoint import Checkpoint, CheckpointError, TrainingStopped


def settled(store: StoredRuns, run_id: RunId, *, keep_models: bool, retry_failed: bool) -> Outcome | None:
    """Return the outcome of a run that is finished or has failed before, or None if the run is to be executed.

    Args:
        store: Results folder.
        run_id: The run.
        keep_models: As in `Runner`.
        retry_failed: As in `Runner`.
    """
    if store.finished(run_id.key, with_weights=keep_models):
        return Outcome(run_id, None, {})
    failure = None if retry_failed else store.failure(run_id.key, again=keep_models)
    return None if failure is None else Outcome(run_id, None, {}, failure.reason)


@dataclass(frozen=True)
class Runner:
    """Execution of runs, one after another, in this process.

    Attributes:
        experiment: Data and settings.
        store: Results folder. A result is in it before its outcome is returned.
        keep_models: Whether weights are kept in the results folder. A finished run without them is made again.
        stop: Event that asks the running run to write its checkpoint and stop between two batches.
        checkpoint_seconds: Shortest time between two checkpoints of a run.
        retry_failed: Try runs again that had failed before this runner first saw them.
    """

    experiment: Experiment
    store: ResultStore
    keep_models: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    checkpoint_seconds: float = 180.0
    retry_failed: bool = False
    _failed_before: dict[str, Failure | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def done(self, key: str) -> bool:
        """Return whether nothing is left to do for a run."""
        return self.store.finished(key, with_weights=self.keep_models)

    def settled(self, run_id: RunId) -> Outcome | None:
        """Return the outcome of a run that is finished or has failed before, or None if the run is to be executed."""
        return settled(self.store, run_id, keep_models=self.keep_models, retry_failed=self.retry_failed)

    def run(self, point: GridPoint, listener: Listener) -> Outcome | None:
        """Claim a run, continue it from its checkpoint, and save its results or its failure.

        Returns:
            The outcome, or None if another process has claimed the run.

        Raises:
            TrainingStopped: If the runner was asked to stop.
            ResultsError: If the results folder cannot be written, so that no run can be executed.
            DeviceError: If the run failed and left a GPU that cannot be used any more. The failure is saved.
        """
        if self.stop.is_set():
            raise TrainingStopped
        run_id = self.experiment.identify(point)
        before = self._failed_before.setdefault(run_id.key, self.store.failure(run_id.key, again=self.keep_models))
        with self.store.claim(run_id.key, again=self.keep_models) as claimed:
            if self.done(run_id.key):
                return Outcome(run_id, None, {})
            if not claimed:
                return None
            failure = self.store.failure(run_id.key, again=self.keep_models)
            if failure is not None and not (self.retry_failed and failure == before):
                return Outcome(run_id, None, {}, failure.reason)
            return self._run(run_id, listener)

    def _run(self, run_id: RunId, listener: Listener) -> Outcome:
        checkpoint = Checkpoint(
            self.store.checkpoint(run_id.key), run_id.key, self.experiment.device, self.stop, self.checkpoint_seconds
        )
        self.store.note("continued" if checkpoint.found else "started", run_id.key)
        listener.started(run_id)
        tested: list[str] = []

        def on_condition(name: str) -> None:
            tested.append(name)
            listener.condition(name)

        began = time.perf_counter()
        try:
            trained = self.experiment.run(run_id.point, listener.epoch, on_condition, checkpoint)
        except TrainingStopped:
            self.store.note("stopped", run_id.key)
            raise
        except CheckpointError as error:
            raise ResultsError(str(error)) from error
        except Exception as error:
            trace, reason, gpu_is_full = traceback.format_exc(), in_one_sentence(error), is_out_of_gpu_memory(error)
            passes = is_out_of_memory(error) or isinstance(error, OSError)
        else:
            seconds = time.perf_counter() - began
            if self.keep_models:
                self._keep(trained, run_id)
            self.store.save(run_id, trained.results, trained.metadata)
            self.store.note("finished", run_id.key)
            return Outcome(run_id, seconds, dict(trained.results))
        free_memory()  # here, after the except block, nothing refers to the tensors of the failed run any more
        if gpu_is_full:
            with self.experiment.kernels():
                reason = out_of_gpu_memory(self.experiment, run_id.point.model, tested[-1] if tested else None)
        self.store.fail(run_id, reason, trace, self.experiment.environment(), keep_checkpoint=passes)
        self.store.note("failed", run_id.key)
        if device_is_lost(self.experiment.device):
            raise DeviceError(
                f"{run_id.label}: {reason}; this process cannot use {self.experiment.device} any more, the same "
                "command continues with the other runs"
            )
        return Outcome(run_id, time.perf_counter() - began, {}, reason)

    def _keep(self, trained: TrainedModel, run_id: RunId) -> None:
        """Write the weights of a run with their description, and a model card beside them."""
        path, description = self.store.weights(run_id.key), description_of_run(self.experiment, run_id, trained)
        with writing(path):
            write_model_file(path, trained.weights, description)
            write_card(path, description)
