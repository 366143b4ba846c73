"""Studies of many trainings: each run is recorded in a file, and a study continues where it was stopped."""

import argparse
import multiprocessing
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import torch
from filelock import FileLock, Timeout

from fastser.cli.options import UsageError
from fastser.cli.signals import first_signal_stops
from fastser.data import CorpusError, prepare, read_corpus
from fastser.data.corpora.named_path import named_path
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint, plan
from fastser.models import MODELS
from fastser.runtime.device import named_device
from fastser.runtime.duration import format_duration
from fastser.runtime.files import remove_stale_parts
from fastser.runtime.registry import UnknownNameError
from fastser.settings import SCALES, Settings
from fastser.training.state import TrainingError

TASK = "source"
"""Task whose models are trained and tested speaker by speaker, as `fastser.reproduce --source` does."""

_POLL_SECONDS = 0.2

Item = TypeVar("Item")


class Study(ABC, Generic[Item]):
    """The runs of one command, and the file in which each of them is recorded.

    Attributes:
        paths: Path of the record of each run.
    """

    paths: dict[Item, Path]

    @abstractmethod
    def record(self, item: Item) -> None:
        """Train the model of a run and write its record.

        Raises:
            TrainingError: If the loss is not finite.
        """

    def label(self, item: Item) -> str:
        """Return the text for a run in lines of progress."""
        return str(item)

    def todo(self) -> list[Item]:
        """Return the runs without a record."""
        return [item for item, path in self.paths.items() if not path.exists()]

    def record_once(self, item: Item) -> None:
        """Record a run unless it is recorded or another process records it now, and print its end."""
        path = self.paths[item]
        try:
            with FileLock(path.with_suffix(".lock"), timeout=0):
                if path.exists():
                    return
                began = time.perf_counter()
                try:
                    self.record(item)
                    ended = format_duration(time.perf_counter() - began)
                except TrainingError as error:
                    ended = f"failed: {error}"
                done = len(self.paths) - len(self.todo())
                print(f"[{done}/{len(self.paths)}] {self.label(item)}: {ended}", flush=True)
        except Timeout:
            return


def arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the options that studies share.

    Args:
        parser: Parser of the command.
        out: Default folder of all files.
    """
    parser.add_argument("--corpus", required=True, metavar="NAME=PATH", help="speech, such as emodb=PATH")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="DIR", help="folder of all files")
    parser.add_argument("--scale", choices=tuple(SCALES), default="open")
    parser.add_argument("--models", default="proposed,cnn", metavar="A,B")
    parser.add_argument("--folds", type=int, metavar="N", help="number of folds; default: that of the scale")
    parser.add_argument("--repeats", type=int, metavar="N", help="number of repeats; default: that of the scale")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time, with one thread each")
    parser.add_argument("--device", default="auto", metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")


def parsed(parser: argparse.ArgumentParser, given: list[str] | None) -> argparse.Namespace:
    """Parse a command line and check the options that studies share."""
    options = parser.parse_args(given)
    try:
        named_path("--corpus", options.corpus)
    except CorpusError as error:
        parser.error(str(error))
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: must be at least 1")
    return options


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings of the scale with the changes of the command line."""
    narrowed = [] if options.folds is None else [f"protocol.folds={options.folds}"]
    narrowed += [] if options.repeats is None else [f"protocol.repeats={options.repeats}"]
    return SCALES[options.scale].override([*narrowed, *options.set])


def models_of(options: argparse.Namespace) -> list[str]:
    """Return the names of the chosen networks.

    Raises:
        UsageError: If there is no such network.
    """
    try:
        return [MODELS[name].name for name in options.models.split(",")]
    except UnknownNameError as error:
        raise UsageError(f"--models: {error}") from None


def experiment_of(options: argparse.Namespace, settings: Settings) -> Experiment:
    """Prepare the corpus and return its experiment without noise.

    Raises:
        CorpusError: If the corpus cannot be used.
        DeviceError: If there is no such device.
    """
    device = named_device(options.device)
    dataset = prepare(read_corpus(*named_path("--corpus", options.corpus)), settings, device=device)
    return Experiment(settings, 0, dataset, None, None, device)


def plan_of(options: argparse.Namespace, experiment: Experiment, models: Sequence[str]) -> tuple[Path, list[GridPoint]]:
    """Create the folder of the records, and return it with the points of the grid: all folds and repeats.

    Args:
        options: Options of the command.
        experiment: Experiment of the runs.
        models: Names of the models.
    """
    runs = options.out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    folds = tuple(experiment.folds(TASK))
    return runs, plan({TASK: folds}, models, ("none",), experiment.settings.protocol.repeats)


StudyOf = Callable[[argparse.Namespace], Study[Item]]
"""Makes the study of a command line. A module-level class, since worker processes import it."""


def record_missing(study_of: StudyOf[Item], options: argparse.Namespace, study: Study[Item]) -> bool:
    """Record the missing runs in worker processes. The first Ctrl-C stops them.

    Args:
        study_of: Makes the study in each worker.
        options: Options of the command.
        study: The study of this process.

    Returns:
        Whether all processes came to their end without an error.
    """
    remove_stale_parts(options.out / "runs")
    todo = len(study.todo())
    print(f"{len(study.paths) - todo} of {len(study.paths)} runs are recorded already", flush=True)
    with first_signal_stops(lambda: print("stopping; the same command continues", flush=True)) as stop:
        return run_workers(study_of, options, min(options.jobs, todo), stop)


def run_workers(study_of: StudyOf[Item], options: argparse.Namespace, number: int, stop: threading.Event) -> bool:
    """Record the missing runs in worker processes, and end the processes when `stop` is set.

    Args:
        study_of: Makes the study in each worker.
        options: Options of the command.
        number: Number of processes.
        stop: Event that ends the processes.

    Returns:
        Whether all processes came to their end without an error.
    """
    context = multiprocessing.get_context("spawn")  # OpenMP's threads do not survive a fork
    workers = [context.Process(target=_work, args=(study_of, options), daemon=True) for _ in range(number)]
    for worker in workers:
        worker.start()
    while not stop.is_set() and any(worker.is_alive() for worker in workers):
        stop.wait(_POLL_SECONDS)
    for worker in workers:
        worker.terminate()
        worker.join()
    return stop.is_set() or not any(worker.exitcode for worker in workers)


def _work(study_of: StudyOf[Item], options: argparse.Namespace) -> None:
    """Record runs until none is left that nobody has begun. This is the program of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes: the command decides
    torch.set_num_threads(1)
    study, command = study_of(options), multiprocessing.parent_process()
    for item in study.todo():
        if command is not None and not command.is_alive():
            return
        study.record_once(item)
