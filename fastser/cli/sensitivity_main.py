"""The way from the options of `python -m fastser.sensitivity` to its report: baseline, answers, runs, differences."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fastser.cli.answer_data import AnswerData
from fastser.cli.console import make_console, say
from fastser.cli.ending import finished_lines, interrupted_line
from fastser.cli.kernel_hint import kernel_hint
from fastser.cli.main import checked_executor
from fastser.cli.options import UsageError, chosen
from fastser.cli.prepare import announced_roles
from fastser.cli.run_display import Display
from fastser.cli.sensitivity_options import SensitivityOptions
from fastser.cli.signals import first_signal_stops
from fastser.cli.steps import MODEL_TIMES, steps
from fastser.evaluation.conditions import headline_names
from fastser.experiment.estimate import MEASUREMENTS, CostModel, format_duration
from fastser.experiment.executors import Work
from fastser.experiment.executors.automatic import with_named_executor
from fastser.experiment.executors.order import longest_first, makespan
from fastser.experiment.executors.runner import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId
from fastser.experiment.own_models import check_own_models, name_of, register_own_models
from fastser.experiment.questions import Question
from fastser.experiment.store import ResultStore
from fastser.experiment.tasks import TASKS
from fastser.experiment.variants import Variant, plan_variants
from fastser.models import MODELS
from fastser.report.collect import report_context
from fastser.report.sensitivity_page import write_sensitivity
from fastser.runtime.counted import counted
from fastser.runtime.files import cache_dir, expanded_output, remove_stale_parts
from fastser.settings import Settings
from fastser.training.precision import describe, with_chosen_precision

COMPARED_TASKS = ("source", "cross")
"""Tasks of the comparison. The target's own task would double the runs and has clean speech only."""


def run(options: SensitivityOptions, command: str) -> int:
    """Train and test the baseline and every other answer, and write the report.

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
    questions = options.asked()
    executor = checked_executor(options)
    register_own_models(options.model, Path.cwd())
    own = [name_of(target) for target in options.model]
    models = chosen("--models", ",".join([*filter(None, [options.models]), *own]), MODELS)
    device = executor.device(options)
    settings = with_chosen_precision(options.settings(), device)
    kernel_mode = options.kernel_mode()
    say(console, *kernel_hint(device, kernel_mode == "reference"))
    looks_only = options.dry_run and not (options.out / "runs").is_dir()
    store = None if looks_only else ResultStore(options.out)
    roles = announced_roles(options, console)
    if roles.source is None:
        raise UsageError("the models are trained on the source corpus: give --source NAME=PATH too")
    check_own_models(options.model, settings, len(roles.source.classes))
    augmentations = [question.augmentation for question in questions]
    data = AnswerData(roles, options, augmentations, kernel_mode, device, executor.in_this_process, console)
    baseline = data.experiment(settings, models)
    tasks = [task for task in TASKS if task in COMPARED_TASKS and baseline.has_corpora_for(task)]
    say(console, *(f"warning: {warning}" for warning in baseline.check(tasks)))
    variants = plan_variants(baseline, questions, models, tasks, data.experiment)
    _refuse_without_effect(questions, settings, [*variants])
    if len(variants) == 1:
        raise UsageError(f"nothing to compare: {_acts_on(options)}")

    runners = {} if store is None else {v: _runner(e, store, options) for v, e in variants.items()}
    settled = {
        run_id: outcome
        for variant, runner in runners.items()
        for run_id in variant.runs
        if (outcome := runner.settled(run_id)) is not None
    }
    todo = _to_do(variants, settled)
    unsettled = [run_id for runs in todo.values() for run_id in runs]
    placement = executor.placement(options, baseline, unsettled)
    models_to_do = sorted({run_id.point.model for run_id in unsettled})
    with steps(MODEL_TIMES, MEASUREMENTS * len(models_to_do), console) as on_step:
        cost = CostModel.measure(models_to_do, baseline, data.device, placement.threads, on_step)
    seconds = {
        run_id: cost.seconds(variants[variant], run_id.point) for variant, runs in todo.items() for run_id in runs
    }
    expected = list(dict.fromkeys(run_id for variant in variants for run_id in variant.runs))
    say(console, *_plan_lines(baseline, variants))
    reused = sum(outcome.failure is None for outcome in settled.values())
    total = sum(makespan([seconds[run_id] for run_id in runs], placement.at_a_time) for runs in todo.values())
    say(
        console,
        f"{reused} reused{_left_alone(len(settled) - reused)}, {len(seconds)} to do, about {format_duration(total)} on "
        f"this machine's {cost.device}, if every answer takes as long as the baseline",
        *placement.notes,
    )
    if store is None or options.dry_run:
        return 0

    def report() -> list[str]:
        recorded = {failure.id.key: failure.reason for failure in store.failures(expected)}
        reasons = {run_id.key: reason for run_id, reason in failures} | recorded
        failed = [(run_id, reasons[run_id.key]) for run_id in expected if run_id.key in reasons]
        context = report_context(command, (), roles, baseline, executor, expected, store, failed, {})
        path, summary = write_sensitivity(options.out, list(variants), context)
        return [*summary, f"report: {path}"]

    began = time.perf_counter()
    costs = {run_id.key: duration for run_id, duration in seconds.items()}
    display = Display(len(expected), costs, settings.training.max_epochs, headline_names(settings), console)
    failures = [(run_id, outcome.failure) for run_id, outcome in settled.items() if outcome.failure is not None]
    with first_signal_stops(lambda: say(console, executor.stop_message)) as stop, display.shown():
        for variant, runs in todo.items():
            if stop.is_set() or not runs:
                continue
            say(console, variant.label)
            runner = replace(runners[variant], stop=stop)
            work = Work(runner, longest_first(runs, seconds), options, display.lane, placement.at_a_time)
            for outcome in executor.run(work):
                display.finished(outcome)
                if outcome.failure is not None:
                    failures.append((outcome.run_id, outcome.failure))
    if stop.is_set():
        done = sum(store.finished(run_id.key) for run_id in expected)
        say(console, interrupted_line(done, len(expected), options.out), *report())
        return 130
    say(console, *finished_lines(len(expected), failures, reused, time.perf_counter() - began), *report())
    return 1 if failures else 0


def _to_do(variants: Iterable[Variant], settled: Collection[RunId]) -> dict[Variant, list[RunId]]:
    """Return the unsettled runs of each variant. A run that two variants share is left to the first one."""
    todo: dict[Variant, list[RunId]] = {}
    assigned = {*settled}
    for variant in variants:
        todo[variant] = [run_id for run_id in variant.runs if run_id not in assigned]
        assigned.update(todo[variant])
    return todo


def _runner(experiment: Experiment, store: ResultStore, options: SensitivityOptions) -> Runner:
    return Runner(
        experiment,
        store,
        keep_models=options.keep_models,
        checkpoint_seconds=60 * options.checkpoint_minutes,
        retry_failed=options.retry_failed,
    )


def _acts_on(options: SensitivityOptions) -> str:
    """Return why no question has another answer for the chosen models."""
    limits = {f"question {q.number} acts on {', '.join(q.models)} only" for q in options.asked() if q.models}
    return "; ".join(sorted(limits)) or "no question has another answer under these settings"


def _refuse_without_effect(questions: Sequence[Question], settings: Settings, variants: Sequence[Variant]) -> None:
    """Check that every answer of `--vary` makes other runs than the baseline.

    Raises:
        UsageError: If there is an answer that does not.
    """
    baseline, *others = variants
    compared = {variant.answer for variant in others if not {*variant.runs} <= {*baseline.runs}}
    own = [answer for question in questions if question.number is None for answer in question.answers(settings)]
    for answer in own:
        if answer not in compared:
            raise UsageError(
                f"--vary {answer.title}: makes the same runs as the baseline; leave it out, or give an augmentation "
                "that uses these settings with --vary-augmentation"
            )


def _plan_lines(baseline: Experiment, variants: Mapping[Variant, Experiment]) -> list[str]:
    """Return lines that describe the plan."""
    settings = baseline.settings
    lines = [f"plan ({settings.scale} scale, {baseline.device}, {describe(settings)}):"]
    for variant in variants:
        models = ", ".join(dict.fromkeys(run_id.point.model for run_id in variant.runs))
        lines.append(f"  {variant.label}: {counted(len(variant.runs), 'run')} ({models})")
    return lines


def _left_alone(failed: int) -> str:
    return f", {failed} failed before (--retry-failed tries again)" if failed else ""
