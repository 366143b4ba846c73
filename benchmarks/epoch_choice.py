"""Quality of the epoch that a rule chooses: `python -m benchmarks.epoch_choice --corpus emodb=PATH`.

Every model is trained speaker by speaker for all epochs of the scale, without an early end, and tested on clean speech
after every epoch. From these records follows the epoch that early stopping, other rules and an oracle choose. The page
`OUT/epoch_choice.md` has their UAR and the share of runs whose chosen epoch is a bad one, `OUT/epoch_choice.csv` has
every choice. The models are those of the main job with the corpus as its source.

Each finished run is one file `OUT/runs/KEY.json`. The same command continues where it was stopped: it repeats no
finished run, and starts the others from their beginning. Several commands may share OUT.
"""

import argparse
import multiprocessing
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from benchmarks.epoch_page import Records, page, write_csv
from benchmarks.epoch_record import RunRecord, record_run, without_early_end
from fastser.cli.signals import first_signal_stops
from fastser.data import CorpusError, prepare, read_corpus
from fastser.experiment.estimate import format_duration
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint, plan
from fastser.models import MODELS
from fastser.runtime.device import DeviceError, named_device
from fastser.runtime.files import atomic_write, remove_stale_parts
from fastser.runtime.registry import UnknownNameError
from fastser.settings import SCALES, Settings, SettingsError
from fastser.training.state import TrainingError

TASK = "source"
"""Task whose models are trained and tested speaker by speaker, as `fastser.reproduce --source` does."""

_POLL_SECONDS = 0.2


class Study:
    """The runs of one command, and the files in which they are recorded.

    Args:
        options: Options of the command.

    Attributes:
        settings: Settings of the scale, whose rule for the end of a training is one of those compared.
        experiment: Experiment whose trainings last for all epochs.
        paths: Path of the record of each run.

    Raises:
        CorpusError: If the corpus cannot be used.
        DeviceError: If there is no such device.
        SettingsError: If a setting is unknown or invalid.
        UnknownNameError: If there is no such model.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        models = [MODELS[name].name for name in options.models.split(",")]
        self.settings = _settings(options)
        device = named_device(options.device)
        name, _, path = options.corpus.partition("=")
        dataset = prepare(read_corpus(name, Path(path)), self.settings, device=device)
        self.experiment = Experiment(without_early_end(self.settings), 0, dataset, None, None, device)
        folds = tuple(self.experiment.folds(TASK))
        runs = options.out / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        points = plan({TASK: folds}, models, ("none",), self.settings.protocol.repeats)
        self.paths = {point: runs / f"{self.experiment.identify(point).key}.json" for point in points}

    def todo(self) -> list[GridPoint]:
        """Return the runs without a record."""
        return [point for point, path in self.paths.items() if not path.exists()]

    def records(self) -> Records:
        """Return the recorded runs by name of the model, in the order of the plan."""
        found: dict[str, list[RunRecord]] = {point.model: [] for point in self.paths}
        for point, path in self.paths.items():
            if path.exists():
                found[point.model].append(RunRecord.read(path))
        return found


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings of the scale with the changes of the command line."""
    narrowed = [] if options.folds is None else [f"protocol.folds={options.folds}"]
    narrowed += [] if options.repeats is None else [f"protocol.repeats={options.repeats}"]
    return SCALES[options.scale].override([*narrowed, *options.set])


def work(options: argparse.Namespace) -> None:
    """Record runs until none is left that nobody has begun. This is the program of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes: the command decides
    torch.set_num_threads(1)
    study, command = Study(options), multiprocessing.parent_process()
    for point in study.todo():
        if command is not None and not command.is_alive():
            return
        record_once(study, point)


def record_once(study: Study, point: GridPoint) -> None:
    """Record a run unless it is recorded or another process records it now, and print its end."""
    path = study.paths[point]
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            if path.exists():
                return
            began = time.perf_counter()
            try:
                record_run(study.experiment, point).write(path)
                ended = format_duration(time.perf_counter() - began)
            except TrainingError as error:
                ended = f"failed: {error}"
            done = len(study.paths) - len(study.todo())
            print(f"[{done}/{len(study.paths)}] {point.label}: {ended}", flush=True)
    except Timeout:
        return


def run_workers(options: argparse.Namespace, number: int, stop: threading.Event) -> bool:
    """Record the missing runs in worker processes, and end the processes when `stop` is set.

    Args:
        options: Options of the command.
        number: Number of processes.
        stop: Event that ends the processes.

    Returns:
        Whether all processes came to their end without an error.
    """
    context = multiprocessing.get_context("spawn")  # OpenMP's threads do not survive a fork
    workers = [context.Process(target=work, args=(options,), daemon=True) for _ in range(number)]
    for worker in workers:
        worker.start()
    while not stop.is_set() and any(worker.is_alive() for worker in workers):
        stop.wait(_POLL_SECONDS)
    for worker in workers:
        worker.terminate()
        worker.join()
    return stop.is_set() or not any(worker.exitcode for worker in workers)


def main(arguments: Sequence[str] | None = None) -> None:
    """Record the runs that are missing, and write page and CSV file."""
    parser = argparse.ArgumentParser("python -m benchmarks.epoch_choice", description=__doc__)
    parser.add_argument("--corpus", required=True, metavar="NAME=PATH", help="speech, such as emodb=PATH")
    parser.add_argument("--out", type=Path, default=Path("epoch_choice"), metavar="DIR", help="folder of all files")
    parser.add_argument("--scale", choices=tuple(SCALES), default="open")
    parser.add_argument("--models", default="proposed,cnn", metavar="A,B")
    parser.add_argument("--folds", type=int, metavar="N", help="number of folds; default: that of the scale")
    parser.add_argument("--repeats", type=int, metavar="N", help="number of repeats; default: that of the scale")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time, with one thread each")
    parser.add_argument("--device", default="auto", metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    options = parser.parse_args(arguments)
    if "=" not in options.corpus:
        parser.error(f"--corpus {options.corpus}: expected NAME=PATH, such as emodb=/data/EMODB")
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: must be at least 1")
    try:
        study = Study(options)
    except (CorpusError, DeviceError, SettingsError, UnknownNameError) as error:
        parser.error(str(error))
    remove_stale_parts(options.out / "runs")
    todo = len(study.todo())
    print(f"{len(study.paths) - todo} of {len(study.paths)} runs are recorded already", flush=True)
    with first_signal_stops(lambda: print("stopping; the same command continues", flush=True)) as stop:
        succeeded = run_workers(options, min(options.jobs, todo), stop)
    records = study.records()
    text = page(study.experiment, TASK, study.settings, records)
    with atomic_write(options.out / "epoch_choice.md") as part:
        part.write_text(text, encoding="utf-8")
    write_csv(options.out / "epoch_choice.csv", study.settings.training, records)
    print(text)
    if not succeeded:
        raise SystemExit("a worker ended with an error, which is printed above; the same command continues")


if __name__ == "__main__":
    main()
