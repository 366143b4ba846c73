"""From a parsed command line to tables: corpora -> plan -> trainings -> report."""

import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console

from fastser.augmentation import NoiseError
from fastser.cache import cache_dir
from fastser.corpora import Corpus, CorpusError, NoiseCorpus, read_corpus, read_noise
from fastser.corpora.synthetic import generate
from fastser.datasets import prepare, prepare_noise
from fastser.environment import environment
from fastser.estimate import CostModel, spoken
from fastser.execution import serial
from fastser.experiment import Experiment
from fastser.progress import Display, file_counter, make_console
from fastser.protocol import AUGMENTATIONS, MODELS, Cell, plan
from fastser.report import ReportContext, write_report
from fastser.results import ResultsError, ResultStore, TrainingId
from fastser.settings import PAPER, SCALES, Settings, SettingsError

DAY = 86_400


class UsageError(ValueError):
    """Arguments that cannot be used, in one sentence."""


USER_ERRORS = (UsageError, CorpusError, NoiseError, ResultsError, SettingsError)
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
    seed: int
    out: Path
    changes: tuple[str, ...]
    dry_run: bool
    allow_bad_files: bool
    keep_models: bool


@dataclass(frozen=True)
class Corpora:
    """What plays the three roles; None where the command line gave nothing for it."""

    source: Corpus | None
    target: Corpus | None
    noise: NoiseCorpus | None


def run(request: Request) -> int:
    """Do what the command line asks for.

    Returns:
        Exit status: 0, 1 if some trainings failed, 130 if interrupted.

    Raises:
        Exception: One of `USER_ERRORS` for arguments or data that cannot be used.
    """
    console = make_console()
    if not request.tables:
        raise UsageError("nothing to do: give --all, --table 1..4 or --figure 2 (--help lists the options)")
    models = _chosen("--models", request.models, tuple(MODELS))
    augmentations = _chosen("--augmentations", request.augmentations, AUGMENTATIONS)
    settings = _settings(request)
    device = _device(request.device)
    torch.use_deterministic_algorithms(True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    store = None if request.dry_run else ResultStore(request.out)

    corpora = _corpora(request, console)
    for corpus in (corpora.source, corpora.target, corpora.noise):
        if corpus is not None:
            console.print(corpus.summary, markup=False, highlight=False)
            for warning in corpus.warnings:
                console.print(f"warning: {warning}", markup=False, highlight=False)
    missing = _missing(corpora, request.tables)
    experiment = _prepare(corpora, settings, request, augmentations, device, console)
    names = {task: tuple(of_task) for task, of_task in experiment.folds.items()}
    cells = plan(request.tables - _impossible(missing), names, models, augmentations, settings.protocol.repeats)
    if not cells:
        raise UsageError("nothing to do: " + "; ".join(missing.values() or ["no training is left in the grid"]))

    identities = {cell: experiment.identify(cell) for cell in cells}
    todo = [c for c in cells if store is None or not store.finished(identities[c].key)]
    costs = _estimate(experiment, todo, device)
    _print_plan(console, request, experiment, cells, todo, missing, sum(costs.values()), device)
    if store is None:
        return 0

    by_key = {identities[cell].key: costs[cell] for cell in todo}
    display = Display(len(cells), by_key, settings.training.max_epochs, console)
    failures: list[tuple[TrainingId, str]] = []
    models_folder = request.out / "models" if request.keep_models else None
    if models_folder is not None:
        models_folder.mkdir(exist_ok=True)
    began = time.perf_counter()
    try:
        with display.shown():
            for outcome in serial.run(experiment, cells, store, display, models_folder):
                display.finished(outcome)
                if outcome.failure is not None:
                    failures.append((outcome.training, outcome.failure))
    except KeyboardInterrupt:
        done = sum(store.finished(identity.key) for identity in identities.values())
        console.print(
            f"interrupted: {done} of {len(cells)} trainings are finished and kept under {request.out}; "
            "the same command goes on from there",
            markup=False,
            highlight=False,
        )
        return 130
    context = _context(request, settings, corpora, experiment, list(identities.values()), store, failures, missing)
    page = write_report(request.out, context)
    console.print(
        f"{len(cells) - len(failures)} of {len(cells)} trainings finished in {spoken(time.perf_counter() - began)} "
        f"({len(cells) - len(todo)} reused); report: {page}",
        markup=False,
        highlight=False,
    )
    for training, reason in failures:
        console.print(f"failed: {training.corpus}: {training.label}: {reason}", markup=False, highlight=False)
    return 1 if failures else 0


def _settings(request: Request) -> Settings:
    given = any((request.source, request.target, request.noise))
    base = SCALES[request.scale or ("paper" if given else "quick")]
    protocol = base.protocol.model_copy(
        update={
            name: value for name, value in (("folds", request.folds), ("repeats", request.repeats)) if value is not None
        }
    )
    return base.model_copy(update={"protocol": protocol}).override(request.changes)


def _chosen(option: str, text: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """The names in a comma-separated option, in the order of `known`; all of them if it was not given."""
    if text is None:
        return tuple(known)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: there is no '{name}'; known are {', '.join(known)}")
    if not names:
        raise UsageError(f"{option}: give at least one of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: not a device; cpu, cuda, cuda:1 or auto") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: only cpu and cuda are supported")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: there is no such CUDA device on this machine")
    return device


def _corpora(request: Request, console: Console) -> Corpora:
    if not any((request.source, request.target, request.noise)):
        console.print("no corpus given: using the synthetic stand-ins (made once, then cached)")
        stand_ins = generate(cache_dir() / "stand-ins")
        return Corpora(
            read_corpus("iemocap", stand_ins.iemocap),
            read_corpus("msp-improv", stand_ins.msp_improv),
            read_noise("demand", stand_ins.demand),
        )
    source, target, noise = (
        _name_and_path(f"--{role}", text)
        for role, text in (("source", request.source), ("target", request.target), ("noise", request.noise))
    )
    if source is None and target is None:
        raise UsageError("--noise alone is not enough: give --source NAME=PATH too")
    return Corpora(
        read_corpus(*source) if source else None,
        read_corpus(*target) if target else None,
        read_noise(*noise) if noise else None,
    )


def _name_and_path(option: str, text: str | None) -> tuple[str, Path] | None:
    if text is None:
        return None
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise UsageError(f"{option} {text}: expected NAME=PATH, such as iemocap=/data/IEMOCAP_full_release")
    return name, Path(path).expanduser()


def _missing(corpora: Corpora, tables: frozenset[str]) -> dict[str, str]:
    """Why a table cannot be filled, or not wholly, by table."""
    needs = {
        "table1": {"source", "target"},
        "table2": {"source", "noise"},
        "table3": {"source"},
        "table4": {"source", "target"},
        "figure2": {"source", "target"},
    }
    absent = {role for role in ("source", "target", "noise") if getattr(corpora, role) is None}
    return {
        table: "no " + " and no ".join(f"--{role}" for role in sorted(needs[table] & absent)) + " was given."
        for table in sorted(tables)
        if needs[table] & absent
    }


def _impossible(missing: dict[str, str]) -> frozenset[str]:
    """Tables of which nothing can be filled; Table 1 can be filled by half."""
    return frozenset(missing) - {"table1"}


def _prepare(
    corpora: Corpora,
    settings: Settings,
    request: Request,
    augmentations: Sequence[str],
    device: torch.device,
    console: Console,
) -> Experiment:
    perturbs = any("speed" in name for name in augmentations) and request.tables != {"table1"}
    datasets = []
    for corpus, speeds in (
        (corpora.source, settings.augmentation.speed_factors if perturbs else ()),
        (corpora.target, ()),
    ):
        if corpus is None:
            datasets.append(None)
            continue
        with file_counter(corpus.title, len(corpus.utterances), console) as on_file:
            dataset = prepare(
                corpus,
                settings,
                speeds=speeds,
                device=device,
                allow_bad_files=request.allow_bad_files,
                on_file=on_file,
            )
        for warning in dataset.warnings:
            console.print(f"warning: {warning}", markup=False, highlight=False)
        datasets.append(dataset)
    noise = prepare_noise(corpora.noise, settings) if corpora.noise and corpora.source else None
    experiment = Experiment(settings, request.seed, datasets[0], datasets[1], noise)
    experiment.folds  # noqa: B018  (a fold that cannot be made is an error before anything is run)
    return experiment


def _estimate(experiment: Experiment, cells: Sequence[Cell], device: torch.device) -> dict[Cell, float]:
    needed = sorted({cell.model for cell in cells})
    costs = CostModel.measure(needed, experiment.settings, device)
    return {cell: costs.seconds(experiment, cell) for cell in cells}


def _print_plan(
    console: Console,
    request: Request,
    experiment: Experiment,
    cells: Sequence[Cell],
    todo: Sequence[Cell],
    missing: dict[str, str],
    seconds: float,
    device: torch.device,
) -> None:
    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    titles = {"source": "leave-one-speaker-out on", "target": "leave-one-speaker-out on", "cross": "across corpora:"}
    say(f"plan ({experiment.settings.scale} scale, {device}):")
    for task, number in Counter(cell.task for cell in cells).items():
        of_task = [cell for cell in cells if cell.task == task]
        models, augmentations, fold_names, repeats = (
            list(dict.fromkeys(getattr(cell, name) for cell in of_task))
            for name in ("model", "augmentation", "fold", "repeat")
        )
        corpus = experiment.identify(of_task[0]).corpus
        say(
            f"  {titles[task]} {corpus}: {len(models)} models ({', '.join(models)}) x {len(augmentations)} augmentations "
            f"({', '.join(augmentations)}) x {len(fold_names)} folds ({_few(fold_names)}) x {len(repeats)} repeats "
            f"= {number} trainings"
        )
    for table, reason in missing.items():
        say(f"  {table}: not {'wholly ' if table == 'table1' else ''}filled: {reason}")
    say(f"{len(cells) - len(todo)} reused, {len(todo)} to do, about {spoken(seconds)} on this machine")
    if seconds > 2 * DAY and device.type == "cpu" and experiment.settings.scale == "paper":
        say(
            "that is days on a CPU: --scale quick fills the same tables with small models; --folds, --repeats, --models and --augmentations narrow the grid"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]} ... {names[-1]}"


def _context(
    request: Request,
    settings: Settings,
    corpora: Corpora,
    experiment: Experiment,
    identities: Sequence[TrainingId],
    store: ResultStore,
    failures: Sequence[tuple[TrainingId, str]],
    missing: dict[str, str],
) -> ReportContext:
    paper = PAPER.describe()
    present = {role: corpus for role in ("source", "target", "noise") if (corpus := getattr(corpora, role))}
    device = next(d.bank.frames.device for d in (experiment.source, experiment.target) if d is not None)
    return ReportContext(
        expected=identities,
        runs=store.collect(identities),
        source_title=corpora.source.title if corpora.source else None,
        target_title=corpora.target.title if corpora.target else None,
        noise_title=corpora.noise.title if corpora.noise else None,
        scale=settings.scale,
        command=shlex.join(["python", "-m", "fastser.reproduce", *sys.argv[1:]]),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        environment=environment(str(device)),
        corpora_lines=[corpus.summary for corpus in present.values()],
        settings={name: (value, source, paper[name][0]) for name, (value, source) in settings.describe().items()},
        synthetic=frozenset(role for role, corpus in present.items() if corpus.synthetic),
        parts=request.tables,
        missing=missing,
        failures=failures,
    )
