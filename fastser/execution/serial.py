"""Run the trainings one after another in this process, sharing the work with other processes on the same folder."""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from safetensors.torch import save_file

from fastser.cache import written_whole
from fastser.execution import Listener, Outcome
from fastser.experiment import Experiment
from fastser.noise import NoiseError
from fastser.protocol import Cell
from fastser.results import ResultStore, TrainingId

_WAIT_SECONDS = 1.0

log = logging.getLogger(__name__)


def run(
    experiment: Experiment,
    cells: Sequence[Cell],
    store: ResultStore,
    listener: Listener,
    keep_models_in: Path | None = None,
) -> Iterator[Outcome]:
    """Run those trainings that are not finished, and yield an outcome for every one.

    A training that another process has claimed is left to it and looked at again later. One that fails is reported and
    does not stop the others.

    Args:
        experiment: Data and settings.
        cells: The plan.
        store: Where results go; a result is there before its outcome is yielded.
        listener: Told about progress.
        keep_models_in: Folder in which trained weights are kept as `models/<key>.safetensors`; None keeps none.
    """
    waiting = [(cell, experiment.identify(cell)) for cell in cells]
    while waiting:
        claimed_elsewhere: list[tuple[Cell, TrainingId]] = []
        for cell, training in waiting:
            with store.claim(training.key) as mine:
                if mine:
                    yield _run_one(experiment, cell, training, store, listener, keep_models_in)
                elif store.finished(training.key):
                    yield Outcome(training, None, {})
                else:
                    claimed_elsewhere.append((cell, training))
        if len(claimed_elsewhere) == len(waiting):
            time.sleep(_WAIT_SECONDS)
        waiting = claimed_elsewhere


def _run_one(
    experiment: Experiment,
    cell: Cell,
    training: TrainingId,
    store: ResultStore,
    listener: Listener,
    keep_models_in: Path | None,
) -> Outcome:
    listener.started(training)
    began = time.perf_counter()
    try:
        results, facts, weights = experiment.run(cell, listener.epoch, listener.condition)
    except (RuntimeError, NoiseError) as error:
        log.debug("%s failed", training.label, exc_info=True)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Outcome(training, time.perf_counter() - began, {}, reason)
    seconds = time.perf_counter() - began
    if keep_models_in is not None:
        folder = keep_models_in / "models"
        folder.mkdir(exist_ok=True)
        with written_whole(folder / f"{training.key}.safetensors") as part:
            save_file({name: value.contiguous() for name, value in weights.items()}, part)
    store.save(training, results, facts | {"seconds": seconds})
    return Outcome(training, seconds, results)
