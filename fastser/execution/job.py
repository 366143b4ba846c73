"""One training from claim to result: what every executor does with a cell of the plan, in whichever process."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from fastser.cache import written_whole
from fastser.execution import Listener, Outcome
from fastser.experiment import Experiment
from fastser.noise import NoiseError
from fastser.protocol import Cell
from fastser.results import ResultStore, TrainingId

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """How one cell after the other is run in this process.

    Attributes:
        experiment: Data and settings.
        store: Where results go; a result is there before its outcome is returned.
        keep_models_in: Folder in which trained weights are kept as `models/<key>.safetensors`; None keeps none.
    """

    experiment: Experiment
    store: ResultStore
    keep_models_in: Path | None = None

    def run(self, cell: Cell, listener: Listener) -> Outcome | None:
        """Claim a training, run it and save its results; a failure is in the outcome.

        Returns:
            What became of it; None if another process has claimed it.
        """
        training = self.experiment.identify(cell)
        with self.store.claim(training.key) as mine:
            if mine:
                return self._run(cell, training, listener)
            return Outcome(training, None, {}) if self.store.finished(training.key) else None

    def _run(self, cell: Cell, training: TrainingId, listener: Listener) -> Outcome:
        listener.started(training)
        began = time.perf_counter()
        try:
            results, facts, weights = self.experiment.run(cell, listener.epoch, listener.condition)
        except (RuntimeError, NoiseError) as error:
            log.debug("%s failed", training.label, exc_info=True)
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return Outcome(training, time.perf_counter() - began, {}, reason)
        seconds = time.perf_counter() - began
        if self.keep_models_in is not None:
            folder = self.keep_models_in / "models"
            folder.mkdir(exist_ok=True)
            with written_whole(folder / f"{training.key}.safetensors") as part:
                save_file({name: value.contiguous() for name, value in weights.items()}, part)
        self.store.save(training, results, facts | {"seconds": seconds})
        return Outcome(training, seconds, results)
