"""The way from parsed options to tables: corpora, plan, runs, report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from rich.console import Console

from fastser.augmentation import AUGMENTATIONS
from fastser.cli.console import say
from fastser.cli.execution import Batch, Execution, Setup, begin
from fastser.cli.kernel_hint import kernel_hint
from fastser.cli.kernel_test import choose_kernels
from fastser.cli.options import CliOptions, UsageError, chosen
from fastser.cli.plan_text import cost_lines, plan_lines, remaining_lines
from fastser.cli.prepare import announced_roles, prepared_experiment
from fastser.cli.results_text import WIDTH, result_lines
from fastser.cli.steps import steps
from fastser.experiment.executors.order import longest_first
from fastser.experiment.executors.runner import settled
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId, plan
from fastser.experiment.own_models import check_own_models, name_of
from fastser.experiment.roles import CorpusRoles
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import StoredRuns
from fastser.experiment.tables import TABLES, wanted_by
from fastser.experiment.tasks import TASKS
from fastser.models import MODELS, Architecture
from fastser.report import write_report
from fastser.report.audio import listen
from fastser.report.collect import report_context
from fastser.runtime.counted import counted
from fastser.runtime.registry import Registry
from fastser.training.yardsticks import YARDSTICKS, Yardstick


@dataclass(frozen=True)
class _Data:
    """Corpora, models and experiment of the requested tables.

    Attributes:
        roles: Corpora by role.
        experiment: Data and settings.
        models: Names of the models.
        augmentations: Names of the augmentations.
        missing: Reason, by table, for tables that cannot be filled completely.
        possible: Tables that can be filled at least in part.
        store: Results folder, which a dry run only reads.
        device: Device of the data in this process.
    """

    roles: CorpusRoles
    experiment: Experiment
    models: Sequence[str]
    augmentations: Sequence[str]
    missing: Mapping[str, str]
    possible: Sequence[str]
    store: StoredRuns
    device: torch.device


def run(options: CliOptions, command: str) -> int:
    """Do everything that the options ask for.

    Args:
        options: Options of the command line.
        command: The command line as text, for the report.

    Returns:
        Exit status: 0, 1 if some runs failed, 130 if interrupted.

    Raises:
        UserError: If arguments or data cannot be used.
    """
    tables = options.tables()
    setup = begin(options)
    options, console, executor = setup.options, setup.console, setup.executor
    data = _data(setup, tables)
    experiment, store = data.experiment, data.store
    runs = _planned(data, tables, console)
    again = {"keep_models": options.keep_models, "retry_failed": options.retry_failed}
    outcomes = {run_id: outcome for run_id in runs if (outcome := settled(store, run_id, **again)) is not None}
    todo = [run_id for run_id in runs if run_id not in outcomes]
    if options.keep_models and (without := sum(store.finished(run_id.key) for run_id in todo)):
        say(console, f"finished but without kept weights: {counted(without, 'run')}, made again")
    reused = sum(outcome.failure is None for outcome in outcomes.values())
    placement = executor.placement(options, experiment, todo)
    cost = setup.measured(experiment, todo, data.device, placement.threads)
    seconds = {run_id: cost.seconds(experiment, run_id.point) for run_id in todo}
    runs_in_order = longest_first(runs, seconds)
    in_order = {run_id: seconds[run_id] for run_id in runs_in_order if run_id in seconds}
    half_filled = [name for name in data.missing if name in data.possible]
    say(console, *plan_lines(experiment, [run_id.point for run_id in runs], data.missing, half_filled))
    say(console, *remaining_lines(experiment, reused, len(outcomes) - reused, in_order, cost.device, placement))
    if not isinstance(store, ResultStore):
        say(console, *cost_lines(experiment, tables, in_order, cost, placement.at_a_time))
        return 0
    batch = Batch("", setup.runner(experiment, store), runs_in_order)
    execution = setup.execute(runs, store, [batch], seconds, experiment.settings, placement.at_a_time)
    return setup.end(execution, reused, lambda: _report(setup, command, tables, data, execution))


def _data(setup: Setup[CliOptions], tables: Sequence[str]) -> _Data:
    """Check models and settings, open the results folder, and prepare the corpora."""
    options, console, executor = setup.options, setup.console, setup.executor
    models = _models(options)
    augmentations = chosen("--augmentations", options.augmentations, AUGMENTATIONS)
    settings, kernel_mode = options.settings(), options.kernel_mode()
    device = executor.device(options)
    say(console, *kernel_hint(device, kernel_mode == "reference"))
    data_device, store = setup.data_device(device), setup.store()
    roles = announced_roles(options, console)
    present = roles.present()
    corpora = [corpus for corpus in (roles.source, roles.target) if corpus is not None]
    check_own_models(options.model, settings, len(corpora[0].classes))
    possible = [name for name in tables if TABLES[name].can_be_filled(present)]
    missing = roles.missing(tables)
    kernels, lines = choose_kernels(kernel_mode, models, settings, device, console, here=executor.in_this_process)
    say(console, *lines)
    experiment = prepared_experiment(roles, settings, options, augmentations, kernels, device, data_device, console)
    return _Data(roles, experiment, models, augmentations, missing, possible, store, data_device)


def _planned(data: _Data, tables: Sequence[str], console: Console) -> list[RunId]:
    """Return the runs of the plan, after printing warnings about the folds.

    Raises:
        UsageError: If the tables need no run of a chosen network.
    """
    experiment, models = data.experiment, data.models
    shown = {task for name in data.possible for task in TABLES[name].tasks}
    tasks = [task for task in TASKS if task in shown and experiment.has_corpora_for(task)]
    fold_names = {task: tuple(experiment.folds(task)) for task in tasks}
    say(console, *(f"warning: {warning}" for warning in experiment.check(tasks)))
    repeats = experiment.settings.protocol.repeats
    points = plan(fold_names, models, data.augmentations, repeats, lambda point: wanted_by(data.possible, point))
    networks = [model for model in models if model in MODELS]
    if not any(point.model in (networks or models) for point in points):
        raise UsageError("nothing to do: " + " ".join(data.missing.values() or [_nothing_shown(tables)]))
    runs: list[RunId] = []
    with steps("planning the runs", len(points), console) as on_run:
        for point in points:
            on_run()
            runs.append(experiment.identify(point))
    return runs


def _report(
    setup: Setup[CliOptions], command: str, tables: Sequence[str], data: _Data, execution: Execution
) -> list[str]:
    """Write the report, and return lines for the console."""
    console, options, store = setup.console, setup.options, execution.store
    say(console, "computing intervals, writing the report ...")
    context = report_context(
        command,
        tables,
        data.roles,
        data.experiment,
        setup.executor,
        execution.planned,
        store,
        execution.failed(),
        data.missing,
    )
    listening = listen(data.experiment, context.runs, store, wanted=not options.no_audio)
    path = write_report(options.out, replace(context, listening=listening))
    lines = result_lines(context, console.width if console.is_terminal else WIDTH)
    title = "report so far" if execution.stopped else "report"
    return [*lines, f"{title}: {path}", f"in a browser: {path.with_suffix('.html')}"]


def _models(options: CliOptions) -> tuple[str, ...]:
    """Return the names of the models of the plan. Yardsticks stand beside all networks, unless `--models` names some.

    Raises:
        UsageError: If `--models` names an unknown model.
    """
    known: Registry[Architecture | Yardstick] = Registry("model", [*MODELS.values(), *YARDSTICKS.values()])
    if not options.models:
        return tuple(known)
    own = [name_of(target) for target in options.model]
    models = chosen("--models", ",".join([options.models, *own]), known)
    return models if any(name in YARDSTICKS for name in models) else (*models, *YARDSTICKS)


def _nothing_shown(tables: Sequence[str]) -> str:
    """Return the models and augmentations that the requested tables are limited to."""
    limits = {
        TABLES[name].title: (*(TABLES[name].models or ()), *(TABLES[name].augmentations or ())) for name in tables
    }
    sentences = [f"{title} shows only {' and '.join(names)}." for title, names in limits.items() if names]
    return " ".join(sentences) or "no requested table shows what --models and --augmentations select."
