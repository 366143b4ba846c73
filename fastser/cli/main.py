"""The way from parsed options to tables: corpora, plan, runs, report."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fastser.augmentation import AUGMENTATIONS
from fastser.cli.console import make_console, say
from fastser.cli.ending import finished_lines, interrupted_line
from fastser.cli.kernel_hint import kernel_hint
from fastser.cli.kernel_test import choose_kernels
from fastser.cli.options import CliOptions, UsageError, chosen
from fastser.cli.plan_text import cost_lines, plan_lines, remaining_lines
from fastser.cli.prepare import announced_roles, prepared_experiment
from fastser.cli.results_text import WIDTH, result_lines
from fastser.cli.run_display import Display
from fastser.cli.signals import first_signal_stops
from fastser.cli.steps import MODEL_TIMES, steps
from fastser.evaluation.conditions import headline_names
from fastser.experiment.estimate import MEASUREMENTS, CostModel
from fastser.experiment.executors import EXECUTORS, Executor, Work
from fastser.experiment.executors.automatic import with_named_executor
from fastser.experiment.executors.order import longest_first
from fastser.experiment.executors.runner import Runner
from fastser.experiment.grid import RunId, plan
from fastser.experiment.options import RunOptions
from fastser.experiment.own_models import check_own_models, name_of, register_own_models
from fastser.experiment.store import ResultStore
from fastser.experiment.tables import TABLES, wanted_by
from fastser.experiment.tasks import TASKS
from fastser.models import MODELS, Architecture
from fastser.report import write_report
from fastser.report.audio import listen
from fastser.report.collect import report_context
from fastser.runtime.files import cache_dir, expanded_output, remove_stale_parts
from fastser.runtime.registry import Registry, UnknownNameError
from fastser.training.yardsticks import YARDSTICKS, Yardstick


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
    options = replace(options, out=expanded_output(options.out, "Give --out the path of a folder"))
    options = with_named_executor(options)
    console = make_console()
    remove_stale_parts(cache_dir())
    tables = options.tables()
    executor = checked_executor(options)
    register_own_models(options.model, Path.cwd())
    models = _models(options)
    networks = [model for model in models if model in MODELS]
    augmentations = chosen("--augmentations", options.augmentations, AUGMENTATIONS)
    settings, kernel_mode = options.settings(), options.kernel_mode()
    device = executor.device(options)
    say(console, *kernel_hint(device, kernel_mode == "reference"))
    data_device = device if executor.in_this_process else torch.device("cpu")
    looks_only = options.dry_run and not (options.out / "runs").is_dir()
    store = None if looks_only else ResultStore(options.out)

    roles = announced_roles(options, console)
    present = roles.present()
    corpora = [corpus for corpus in (roles.source, roles.target) if corpus is not None]
    check_own_models(options.model, settings, len(corpora[0].classes))
    missing = roles.missing(tables)
    possible = [name for name in tables if TABLES[name].can_be_filled(present)]
    kernels, lines = choose_kernels(kernel_mode, models, settings, device, console, here=executor.in_this_process)
    say(console, *lines)
    experiment = prepared_experiment(roles, settings, options, augmentations, kernels, device, data_device, console)
    shown = {task for name in possible for task in TABLES[name].tasks}
    tasks = [task for task in TASKS if task in shown and experiment.has_corpora_for(task)]
    fold_names = {task: tuple(experiment.folds(task)) for task in tasks}
    say(console, *(f"warning: {warning}" for warning in experiment.check(tasks)))
    repeats = settings.protocol.repeats
    points = plan(fold_names, models, augmentations, repeats, lambda point: wanted_by(possible, point))
    if not any(point.model in (networks or models) for point in points):
        raise UsageError("nothing to do: " + " ".join(missing.values() or [_nothing_shown(tables)]))

    runs: list[RunId] = []
    with steps("planning the runs", len(points), console) as on_run:
        for point in points:
            on_run()
            runs.append(experiment.identify(point))
    reused = set() if store is None else {run_id for run_id in runs if store.finished(run_id.key)}
    if store is not None and options.keep_models:
        without = {run_id for run_id in reused if not store.weights(run_id.key).exists()}
        if without:
            say(console, f"{len(without)} finished runs have no kept weights; these runs are made again")
        reused -= without
    failed_keys = set() if store is None or options.retry_failed else {f.id.key for f in store.failures(runs)}
    given_up = {run_id for run_id in runs if run_id.key in failed_keys} - reused
    todo = [run_id for run_id in runs if run_id not in reused | given_up]
    placement = executor.placement(options, experiment, todo)
    models_to_do = sorted({run_id.point.model for run_id in todo})
    number = MEASUREMENTS * sum(model not in YARDSTICKS for model in models_to_do)
    with steps(MODEL_TIMES, number, console) as on_step:
        cost = CostModel.measure(models_to_do, experiment, data_device, placement.threads, on_step)
    seconds = {run_id: cost.seconds(experiment, run_id.point) for run_id in todo}
    runs_in_order = longest_first(runs, seconds)
    half_filled = [name for name in missing if name in possible]
    say(console, *plan_lines(experiment, points, missing, half_filled))
    in_order = {run_id: seconds[run_id] for run_id in runs_in_order if run_id in seconds}
    say(console, *remaining_lines(experiment, len(reused), len(given_up), in_order, cost.device, placement))
    if store is None or options.dry_run:
        say(console, *cost_lines(experiment, tables, in_order, cost, placement.at_a_time))
        return 0

    def report(title: str) -> list[str]:
        say(console, "computing intervals, writing the report ...")
        recorded = {failure.id.key: failure.reason for failure in store.failures(runs)}
        reasons = {run_id.key: reason for run_id, reason in failures} | recorded
        failed = [(run_id, reasons[run_id.key]) for run_id in runs if run_id.key in reasons]
        context = report_context(command, tables, roles, experiment, executor, runs, store, failed, missing)
        listening = listen(experiment, context.runs, store, wanted=not options.no_audio)
        path = write_report(options.out, replace(context, listening=listening))
        lines = result_lines(context, console.width if console.is_terminal else WIDTH)
        return [*lines, f"{title}: {path}", f"in a browser: {path.with_suffix('.html')}"]

    began = time.perf_counter()
    costs = {run_id.key: duration for run_id, duration in seconds.items()}
    display = Display(len(runs), costs, settings.training.max_epochs, headline_names(settings), console)
    failures: list[tuple[RunId, str]] = []
    with first_signal_stops(lambda: say(console, executor.stop_message)) as stop, display.shown():
        runner = Runner(
            experiment,
            store,
            keep_models=options.keep_models,
            stop=stop,
            checkpoint_seconds=60 * options.checkpoint_minutes,
            retry_failed=options.retry_failed,
        )
        for outcome in executor.run(Work(runner, runs_in_order, options, display.lane, placement.at_a_time)):
            display.finished(outcome)
            if outcome.failure is not None:
                failures.append((outcome.run_id, outcome.failure))
    if stop.is_set():
        done = sum(store.finished(run_id.key) for run_id in runs)
        say(console, interrupted_line(done, len(runs), options.out), *report("report so far"))
        return 130
    ending = finished_lines(len(runs), failures, len(reused), time.perf_counter() - began)
    say(console, *ending)
    say(console, *report("report"))
    return 1 if failures else 0


def checked_executor(options: RunOptions) -> Executor:
    """Return the executor, after checking its options before anything is read.

    Raises:
        UsageError: If there is no such executor, or an option is for another one.
        ExecutorError: If it cannot run anything here.
    """
    try:
        executor = EXECUTORS[options.executor]
    except UnknownNameError as error:
        raise UsageError(f"--executor: {error}") from None
    for flag, owners in options.foreign_options():
        raise UsageError(f"{flag} is for --executor {' or '.join(owners)}, this is --executor {executor.name}")
    executor.check(options)
    return executor


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
