"""From a parsed command line to tables: corpora -> plan -> trainings -> report."""

import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from fastser_kernels.registration import use_reference
from rich.console import Console

from fastser.cache import cache_dir, sweep
from fastser.corpora import Corpus, CorpusError
from fastser.datasets import Dataset, prepare, prepare_noise
from fastser.environment import environment
from fastser.estimate import CostModel, spoken
from fastser.execution import serial
from fastser.execution.job import Job
from fastser.experiment import Experiment
from fastser.noise import NoiseError
from fastser.overview import overview
from fastser.progress import Display, file_counter, make_console
from fastser.protocol import AUGMENTATIONS, MODELS, plan
from fastser.report import ReportContext, write_report
from fastser.results import ResultsError, ResultStore, Run, TrainingId
from fastser.roles import RoleError, Roles, read_roles
from fastser.settings import PAPER, SCALES, Settings, SettingsError


class UsageError(ValueError):
    """Arguments that cannot be used, in one sentence."""


USER_ERRORS = (UsageError, RoleError, CorpusError, NoiseError, ResultsError, SettingsError)
"""Exceptions whose message is all that a user needs to see; the exit status is 2."""


@dataclass(frozen=True)
class Request:
    """The command line's arguments, as `fastser.reproduce` documents them; `tables` are names such as "table1"."""

    tables: frozenset[str]
    source: str | None
    target: str | None
    noise: str | None
    scale: str | None
    models: str | None
    augmentations: str | None
    folds: int | None
    repeats: int | None
    device: str
    kernels: str
    seed: int
    out: Path
    changes: tuple[str, ...]
    dry_run: bool
    allow_bad_files: bool
    keep_models: bool


def run(request: Request) -> int:
    """Do what the command line asks for.

    Returns:
        Exit status: 0, 1 if some trainings failed, 130 if interrupted.

    Raises:
        Exception: One of `USER_ERRORS` for arguments or data that cannot be used.
    """
    console = make_console()
    sweep(cache_dir())
    if not request.tables:
        raise UsageError("nothing to do: give --all, --table 1..4 or --figure 2 (--help lists the options)")
    models = _chosen("--models", request.models, tuple(MODELS))
    augmentations = _chosen("--augmentations", request.augmentations, AUGMENTATIONS)
    settings = _settings(request)
    device = _device(request.device)
    use_reference(request.kernels == "eager")
    store = None if request.dry_run else ResultStore(request.out)

    if request.source is request.target is request.noise is None:
        _say(console, "no corpus given: using the synthetic stand-ins (made once, then cached)")
    roles = read_roles(request.source, request.target, request.noise)
    for corpus in roles.present().values():
        _say(console, corpus.summary, *(f"warning: {warning}" for warning in corpus.warnings))
    missing = roles.missing(request.tables)
    experiment = _prepare(roles, settings, request, augmentations, device, console)
    possible = request.tables - (missing.keys() - {"table1"})
    fold_names = {task: tuple(of_task) for task, of_task in experiment.folds.items()}
    cells = plan(possible, fold_names, models, augmentations, settings.protocol.repeats)
    if not cells:
        raise UsageError("nothing to do: " + " ".join(missing.values() or ["Table 1 has only trainings without one."]))

    identities = {cell: experiment.identify(cell) for cell in cells}
    todo = [cell for cell in cells if store is None or not store.finished(identities[cell].key)]
    cost = CostModel.measure(sorted({cell.model for cell in todo}), settings, device)
    seconds = {identities[cell].key: cost.seconds(experiment, cell) for cell in todo}
    _say(console, *overview(experiment, cells, todo, missing, sum(seconds.values())))
    if store is None:
        return 0

    def report() -> Path:
        context = _context(request, roles, experiment, list(identities.values()), store, failures, missing)
        return write_report(request.out, context)

    began = time.perf_counter()
    display = Display(len(cells), seconds, settings.training.max_epochs, console)
    failures: list[tuple[TrainingId, str]] = []
    job = Job(experiment, store, request.out if request.keep_models else None)
    try:
        with display.shown():
            for outcome in serial.run(job, cells, display):
                display.finished(outcome)
                if outcome.failure is not None:
                    failures.append((outcome.training, outcome.failure))
    except KeyboardInterrupt:
        done = sum(store.finished(identity.key) for identity in identities.values())
        _say(
            console,
            f"interrupted: {done} of {len(cells)} trainings are finished and kept under {request.out}; "
            "the same command goes on from there",
        )
        _say(console, f"report so far: {report()}")
        return 130
    _say(
        console,
        f"{len(cells) - len(failures)} of {len(cells)} trainings finished, {len(cells) - len(todo)} of them reused, "
        f"in {spoken(time.perf_counter() - began)}",
        *(f"failed: {training.corpus}: {training.label}: {reason}" for training, reason in failures),
        f"report: {report()}",
    )
    return 1 if failures else 0


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _settings(request: Request) -> Settings:
    on_disk = any((request.source, request.target, request.noise))
    base = SCALES[request.scale or ("paper" if on_disk else "quick")]
    narrowed = {"folds": request.folds, "repeats": request.repeats}
    protocol = base.protocol.model_copy(update={name: n for name, n in narrowed.items() if n is not None})
    return base.model_copy(update={"protocol": protocol}).override(request.changes)


def _chosen(option: str, text: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """The names in a comma-separated option, in the order of `known`; all of them if it was not given."""
    if text is None:
        return tuple(known)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: there is no '{name}'; known are {', '.join(known)}")
    return tuple(name for name in known if name in names)


def _device(name: str) -> torch.device:
    """The device, with deterministic algorithms and full fp32 switched on: the same seed gives the same bits."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.allow_tf32 = False
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # filling is slow
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: not a device; give cpu, cuda, cuda:1 or auto") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: only cpu and cuda are supported")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: there is no such CUDA device on this machine")
    return device


def _prepare(
    roles: Roles,
    settings: Settings,
    request: Request,
    augmentations: Sequence[str],
    device: torch.device,
    console: Console,
) -> Experiment:
    def prepared(corpus: Corpus | None, speeds: Sequence[float]) -> Dataset | None:
        if corpus is None:
            return None
        with file_counter(corpus.title, len(corpus.utterances), console) as on_file:
            dataset = prepare(
                corpus,
                settings,
                speeds=speeds,
                device=device,
                allow_bad_files=request.allow_bad_files,
                on_file=on_file,
            )
        _say(console, *(f"warning: {warning}" for warning in dataset.warnings))
        return dataset

    if roles.source and roles.target:
        shared = {u.path.resolve() for u in roles.source.utterances} & {
            u.path.resolve() for u in roles.target.utterances
        }
        if shared:
            raise UsageError(f"--source and --target share {len(shared)} files, such as {min(shared)}")
    perturbs = any("speed" in name for name in augmentations) and request.tables != {"table1"}
    source = prepared(roles.source, settings.augmentation.speed_factors if perturbs else ())
    noise = prepare_noise(roles.noise, settings) if roles.noise and source else None
    experiment = Experiment(settings, request.seed, source, prepared(roles.target, ()), noise, device)
    _say(console, *(f"warning: {warning}" for warning in experiment.check()))
    return experiment


def _context(
    request: Request,
    roles: Roles,
    experiment: Experiment,
    identities: Sequence[TrainingId],
    store: ResultStore,
    failures: Sequence[tuple[TrainingId, str]],
    missing: Mapping[str, str],
) -> ReportContext:
    settings, paper = experiment.settings, PAPER.describe()
    runs = store.collect(identities)
    here = environment(str(experiment.device))
    present = roles.present()
    lines = [corpus.summary for corpus in present.values()]
    for dataset in (experiment.source, experiment.target):
        if dataset is not None and dataset.warnings:
            used, skipped = len(dataset.corpus.utterances), len(dataset.warnings)
            lines.append(f"{dataset.corpus.title}: {used} utterances used, {skipped} unusable files skipped")
    return ReportContext(
        expected=identities,
        runs=runs,
        source_title=roles.source.title if roles.source else None,
        target_title=roles.target.title if roles.target else None,
        noise_title=roles.noise.title if roles.noise else None,
        scale=settings.scale,
        command=shlex.join(["python", "-m", "fastser.reproduce", *sys.argv[1:]]),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        environment=here | _other_environments(runs, here),
        corpora_lines=lines,
        settings={name: (value, source, paper[name][0]) for name, (value, source) in settings.describe().items()},
        synthetic=frozenset(role for role, corpus in present.items() if corpus.synthetic),
        parts=request.tables,
        missing=missing,
        failures=failures,
    )


def _other_environments(runs: Sequence[Run], here: Mapping[str, str]) -> dict[str, str]:
    """What differs from here where reused trainings were made, by name: "commit of 3 trainings" -> text."""
    differing = Counter(
        (name, text) for run in runs for name, text in run.facts["environment"].items() if text != here.get(name)
    )
    return {f"{name} of {count} of the trainings": text for (name, text), count in sorted(differing.items())}
