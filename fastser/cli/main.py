"""From a parsed command line to tables: corpora -> plan -> trainings -> report."""

import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from fastser_kernels.registration import use_reference

from fastser.cli.console import Display, make_console, say
from fastser.cli.options import CliOptions, UsageError, chosen
from fastser.cli.plan_text import cost_lines, outlook, overview
from fastser.cli.prepare import prepared_experiment
from fastser.cli.signals import first_signal_stops
from fastser.data.corpora import CorpusError
from fastser.data.noise import NoiseError
from fastser.experiment.estimate import CostModel, format_duration
from fastser.experiment.executors import ExecutorError, Outcome, cell_of, ray_cluster, serial
from fastser.experiment.executors.order import longest_first
from fastser.experiment.executors.run_one import Runner
from fastser.experiment.executors.worker_config import WorkerConfig
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import AUGMENTATIONS, MODELS, plan
from fastser.experiment.roles import RoleError, read_roles
from fastser.experiment.store import ResultsError, ResultStore, RunId
from fastser.report import write_report
from fastser.report.collect import report_context
from fastser.runtime.device import DeviceError, named_device
from fastser.runtime.files import cache_dir, remove_stale_parts
from fastser.settings import SettingsError

USER_ERRORS = (
    UsageError,
    DeviceError,
    RoleError,
    CorpusError,
    NoiseError,
    ResultsError,
    SettingsError,
    ExecutorError,
)
"""Exceptions whose message is all that a user needs to see; the exit status is 2."""

_EXTRAS = {"ray": "ray", "slurm": "submitit"}
"""What each extra installs."""

_STOPPING = {
    "serial": "stopping where the training can go on; again to end at once",
    "ray": "stopping where the running trainings can go on; again to end at once",
    "slurm": "the jobs stay in the queue; scancel --me --name=fastser ends them",
}


def run(request: CliOptions) -> int:
    """Do what the command line asks for.

    Returns:
        Exit status: 0, 1 if some trainings failed, 130 if interrupted.

    Raises:
        Exception: One of `USER_ERRORS` for arguments or data that cannot be used.
    """
    console = make_console()
    remove_stale_parts(cache_dir())
    if not request.tables:
        raise UsageError("nothing to do: give --all, --table 1..4 or --figure 2 (--help lists the options)")
    _check_executor(request)
    models = chosen("--models", request.models, tuple(MODELS))
    augmentations = chosen("--augmentations", request.augmentations, AUGMENTATIONS)
    settings = request.settings()
    device = _device(request)
    data_on = device if request.executor == "serial" else torch.device("cpu")  # elsewhere the workers hold the data
    use_reference(request.kernels == "eager")
    store = None if request.dry_run else ResultStore(request.out)

    if request.source is request.target is request.noise is None:
        say(console, "no corpus given: using the synthetic stand-ins (made once, then cached)")
    roles = read_roles(request.source, request.target, request.noise)
    for corpus in roles.present().values():
        say(console, corpus.summary, *(f"warning: {warning}" for warning in corpus.warnings))
    missing = roles.missing(request.tables)
    experiment = prepared_experiment(roles, settings, request, augmentations, device, data_on, console)
    possible = request.tables - (missing.keys() - {"table1"})
    fold_names = {task: tuple(of_task) for task, of_task in experiment.folds.items()}
    cells = plan(possible, fold_names, models, augmentations, settings.protocol.repeats)
    if not cells:
        raise UsageError("nothing to do: " + " ".join(missing.values() or ["Table 1 has only trainings without one."]))

    identities = [experiment.identify(cell) for cell in cells]
    kept = set() if store is None else {training for training in identities if store.finished(training.key)}
    given_up = set() if store is None or request.retry_failed else {f.id for f in store.failures(identities)}
    todo = [training for training in identities if training not in kept | given_up]
    cost = CostModel.measure(sorted({training.model for training in todo}), settings, data_on)
    seconds = {training: cost.seconds(experiment, training) for training in todo}
    say(console, *overview(experiment, cells, missing))
    say(console, *outlook(experiment, len(kept), len(given_up), len(todo), sum(seconds.values()), cost.device))
    if store is None:
        say(console, *cost_lines(experiment, request.tables, seconds, cost))
        return 0

    def report() -> Path:
        failed = dict(failures) | {failure.id: failure.reason for failure in store.failures(identities)}
        context = report_context(request, roles, experiment, identities, store, [*failed.items()], missing)
        return write_report(request.out, context)

    began = time.perf_counter()
    display = Display(
        len(cells), {training.key: s for training, s in seconds.items()}, settings.training.max_epochs, console
    )
    failures: list[tuple[RunId, str]] = []
    trainings = longest_first(identities, seconds)
    with first_signal_stops(lambda: say(console, _STOPPING[request.executor])) as stop, display.shown():
        for outcome in _outcomes(request, experiment, store, trainings, display, stop):
            display.finished(outcome)
            if outcome.failure is not None:
                failures.append((outcome.training, outcome.failure))
    if stop.is_set():
        done = sum(store.finished(training.key) for training in identities)
        say(
            console,
            f"interrupted: {done} of {len(cells)} trainings are finished and kept under {request.out}; "
            "the same command goes on from there",
            f"report so far: {report()}",
        )
        return 130
    say(
        console,
        f"{len(cells) - len(failures)} of {len(cells)} trainings finished, {len(kept)} of them reused, "
        f"in {format_duration(time.perf_counter() - began)}",
        *(f"failed: {training.corpus}: {training.label}: {reason}" for training, reason in failures),
        f"report: {report()}",
    )
    return 1 if failures else 0


def _check_executor(request: CliOptions) -> None:
    """Refuse, before anything is read, options that belong to another executor and an executor that is not there."""
    name = request.executor
    given = {
        "ray": {
            "--ray-address": request.ray_address is not None,
            "--ray-dashboard": request.ray_dashboard,
            "--gpus-per-run": request.gpus_per_run is not None,
        },
        "slurm": {"--slurm": bool(request.slurm), "--runs-per-job": request.runs_per_job > 1},
    }
    for owner, options in given.items():
        for option, is_given in options.items():
            if is_given and owner != name:
                raise UsageError(f"{option} is for --executor {owner}, this is --executor {name}")
    if name in _EXTRAS and find_spec(_EXTRAS[name]) is None:
        raise UsageError(f"--executor {name} needs the extra: pip install 'fastser[{name}]', or '.[{name}]' in a clone")
    if name == "ray":
        ray_cluster.check_share(request.gpus_per_run)
    if name == "slurm" and not request.dry_run:
        from fastser.experiment.executors import slurm  # its classes are submitit's

        slurm.check(request.slurm)


def _device(request: CliOptions) -> torch.device:
    """Where models are trained: here, or on whatever the cluster gives to a worker."""
    if request.executor == "serial":
        return named_device(request.device)
    if request.device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {request.device}: with --executor {request.executor} give cpu, cuda or auto")
    here = named_device(request.device if request.device == "cpu" else "auto")
    if request.device != "auto":
        return torch.device(request.device)
    if request.executor == "slurm":
        from fastser.experiment.executors.slurm import wants_gpu

        return torch.device("cuda" if wants_gpu(request.slurm) else "cpu")
    return here if request.gpus_per_run is None else torch.device("cuda" if request.gpus_per_run else "cpu")


def _outcomes(
    request: CliOptions,
    experiment: Experiment,
    store: ResultStore,
    trainings: Sequence[RunId],
    display: Display,
    stop: threading.Event,
) -> Iterator[Outcome]:
    """Have the trainings run by the executor that was asked for."""
    job = Runner(
        experiment,
        store,
        request.out if request.keep_models else None,
        stop,
        60 * request.checkpoint_minutes,
        request.retry_failed,
    )
    if request.executor == "serial":
        return serial.run(job, [cell_of(training) for training in trainings], display.lane())
    spec = WorkerConfig.of(job, request.out, request.cpus_per_run).write()
    if request.executor == "ray":
        gpus = request.gpus_per_run
        resources = ray_cluster.Resources(
            address=request.ray_address,
            cpus=request.cpus_per_run,
            gpus=gpus if gpus is not None else float(experiment.device.type == "cuda"),
            dashboard=request.ray_dashboard,
        )
        return ray_cluster.run(spec, resources, store, trainings, display.lane, stop)
    from fastser.experiment.executors import slurm  # its classes are submitit's

    submission = slurm.Submission(
        request.out.resolve() / "slurm",
        request.runs_per_job,
        request.cpus_per_run,
        request.slurm,
        request.retry_failed,
    )
    return slurm.run(spec, submission, store, trainings, stop)
