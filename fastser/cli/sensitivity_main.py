"""The way from the options of `python -m fastser.sensitivity` to its report: baseline, answers, runs, differences."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from fastser.cli.answer_data import AnswerData
from fastser.cli.console import say
from fastser.cli.execution import Batch, Execution, Setup, begin
from fastser.cli.kernel_hint import kernel_hint
from fastser.cli.options import UsageError, chosen
from fastser.cli.prepare import announced_roles
from fastser.cli.sensitivity_options import SensitivityOptions
from fastser.experiment.executors.order import longest_first, makespan
from fastser.experiment.executors.runner import settled
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId
from fastser.experiment.own_models import check_own_models, name_of
from fastser.experiment.questions import Question
from fastser.experiment.roles import CorpusRoles
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import StoredRuns
from fastser.experiment.tasks import TASKS
from fastser.experiment.variants import Variant, plan_variants
from fastser.models import MODELS
from fastser.report.collect import report_context
from fastser.report.sensitivity_page import write_sensitivity
from fastser.runtime.counted import counted
from fastser.runtime.duration import format_duration
from fastser.settings import Settings
from fastser.training.precision import describe, with_chosen_precision

COMPARED_TASKS = ("source", "cross")
"""Tasks of the comparison. The target's own task would double the runs and has clean speech only."""


@dataclass(frozen=True)
class _Data:
    """Corpora and experiments of the comparison.

    Attributes:
        roles: Corpora by role.
        baseline: Experiment of the baseline.
        variants: Experiment of the baseline and of each other answer.
        store: Results folder, which a dry run only reads.
        device: Device of the data in this process.
    """

    roles: CorpusRoles
    baseline: Experiment
    variants: Mapping[Variant, Experiment]
    store: StoredRuns
    device: torch.device


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
    questions = options.asked()
    setup = begin(options)
    options, console, executor = setup.options, setup.console, setup.executor
    data = _data(setup, questions)
    baseline, variants, store = data.baseline, data.variants, data.store

    again = {"keep_models": options.keep_models, "retry_failed": options.retry_failed}
    outcomes = {
        run_id: outcome
        for variant in variants
        for run_id in variant.runs
        if (outcome := settled(store, run_id, **again)) is not None
    }
    todo = _to_do(variants, outcomes)
    unsettled = [run_id for runs in todo.values() for run_id in runs]
    placement = executor.placement(options, baseline, unsettled)
    cost = setup.measured(baseline, unsettled, data.device, placement.threads)
    seconds = {
        run_id: cost.seconds(variants[variant], run_id.point) for variant, runs in todo.items() for run_id in runs
    }
    expected = list(dict.fromkeys(run_id for variant in variants for run_id in variant.runs))
    say(console, *_plan_lines(baseline, variants))
    reused = sum(outcome.failure is None for outcome in outcomes.values())
    total = sum(makespan([seconds[run_id] for run_id in runs], placement.at_a_time) for runs in todo.values())
    say(
        console,
        f"{reused} reused{_left_alone(len(outcomes) - reused)}, {len(seconds)} to do, about {format_duration(total)} "
        f"on this machine's {cost.device}, if every answer takes as long as the baseline",
        *placement.notes,
    )
    if not isinstance(store, ResultStore):
        return 0
    batches = [
        Batch(v.label, setup.runner(variants[v], store), longest_first(runs, seconds))
        for v, runs in todo.items()
        if runs
    ]
    failures = [(run_id, outcome.failure) for run_id, outcome in outcomes.items() if outcome.failure is not None]
    execution = setup.execute(expected, store, batches, seconds, baseline.settings, placement.at_a_time, failures)
    return setup.end(execution, reused, lambda: _report(setup, command, data, execution))


def _data(setup: Setup[SensitivityOptions], questions: Sequence[Question]) -> _Data:
    """Check models and settings, open the results folder, prepare the corpora, and plan the runs.

    Raises:
        UsageError: If there is no source corpus, or nothing to compare.
    """
    options, console, executor = setup.options, setup.console, setup.executor
    own = [name_of(target) for target in options.model]
    models = chosen("--models", ",".join([*filter(None, [options.models]), *own]), MODELS)
    device = executor.device(options)
    settings = with_chosen_precision(options.settings(), device)
    kernel_mode = options.kernel_mode()
    say(console, *kernel_hint(device, kernel_mode == "reference"))
    store = setup.store()
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
    return _Data(roles, baseline, variants, store, data.device)


def _report(setup: Setup[SensitivityOptions], command: str, data: _Data, execution: Execution) -> list[str]:
    """Write the report, and return lines for the console."""
    context = report_context(
        command,
        (),
        data.roles,
        data.baseline,
        setup.executor,
        execution.planned,
        execution.store,
        execution.failed(),
        {},
    )
    path, summary = write_sensitivity(setup.options.out, list(data.variants), context)
    return [*summary, f"report: {path}"]


def _to_do(variants: Iterable[Variant], settled: Collection[RunId]) -> dict[Variant, list[RunId]]:
    """Return the unsettled runs of each variant. A run that two variants share is left to the first one."""
    todo: dict[Variant, list[RunId]] = {}
    assigned = {*settled}
    for variant in variants:
        todo[variant] = [run_id for run_id in variant.runs if run_id not in assigned]
        assigned.update(todo[variant])
    return todo


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
