"""The plan as text, printed before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fastser.experiment.estimate import CostModel, epochs, segment_counts
from fastser.experiment.executors import Placement
from fastser.experiment.executors.order import makespan
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import GridPoint, RunId
from fastser.experiment.predicted_hours import predicted_paces
from fastser.experiment.tables import TABLES, tables_of
from fastser.experiment.tasks import TASKS
from fastser.runtime.counted import counted
from fastser.runtime.duration import format_duration
from fastser.training.precision import describe
from fastser.training.yardsticks import YARDSTICKS

_TOO_LONG_SECONDS = 2 * 86_400

_NOT_WORTH_PREDICTING_SECONDS = 60
"""Time of a whole grid on every GPU below which predicted times are left out. They are all alike then."""


def plan_lines(
    experiment: Experiment, points: Sequence[GridPoint], missing: Mapping[str, str], half_filled: Sequence[str]
) -> list[str]:
    """Return lines that describe a plan.

    Args:
        experiment: Settings and data.
        points: The whole plan.
        missing: Reason, by table, for tables that are not filled completely.
        half_filled: Tables that are filled partly.
    """
    settings = experiment.settings
    lines = [f"plan ({settings.scale} scale, {experiment.device}, {describe(settings)}):"]
    for task in TASKS.values():
        of_task = [point for point in points if point.task == task.name]
        if of_task:
            corpus = experiment.identify(of_task[0]).corpus
            title = "own split of" if [*experiment.folds(task.name)] == ["split"] else task.title
            lines.append(f"  {title} {corpus}:")
            lines += _product("model", [point for point in of_task if point.model not in YARDSTICKS])
            lines += _product("yardstick", [point for point in of_task if point.model in YARDSTICKS])
    lines += _too_many_folds(experiment, points)
    for table, reason in missing.items():
        lines.append(f"  {table}: {'partly filled' if table in half_filled else 'not filled'}, {reason}")
    return lines


def _product(noun: str, points: Sequence[GridPoint]) -> list[str]:
    """Return a line with the factors of a part of the grid, or nothing if the part is empty."""
    if not points:
        return []
    factors = [
        _factor(noun, [point.model for point in points]),
        _factor("augmentation", [point.augmentation for point in points]),
        _factor("fold", [point.fold for point in points]),
        counted(max(point.repeat for point in points), "repeat"),
    ]
    return [f"    {' x '.join(factors)} = {counted(len(points), 'run')}"]


def _too_many_folds(experiment: Experiment, points: Sequence[GridPoint]) -> list[str]:
    """Return a line for each task that has fewer folds than the settings ask for."""
    asked = experiment.settings.protocol.folds
    tasks = dict.fromkeys(point.task for point in points if TASKS[point.task].leaves_one_speaker_out)
    return [
        f"  {experiment.dataset(TASKS[task].tests_on).corpus.title} has "
        f"{counted(len(experiment.folds(task)), 'fold')}, not {asked}"
        for task in tasks
        if asked is not None and asked > len(experiment.folds(task))
    ]


def remaining_lines(
    experiment: Experiment,
    reused: int,
    failed: int,
    seconds: Mapping[RunId, float],
    device: str,
    placement: Placement,
) -> list[str]:
    """Return lines that say how much of a plan is left.

    Args:
        experiment: Settings and device.
        reused: Number of finished runs.
        failed: Number of runs that failed before and are not tried again.
        seconds: Estimated seconds of each other run, in the order in which they are begun.
        device: Device of the estimate.
        placement: Number of runs at a time, and their threads.
    """
    left_alone = f", {failed} failed before (--retry-failed tries again)" if failed else ""
    total = makespan(seconds.values(), placement.at_a_time)
    lines = [
        f"{reused} reused{left_alone}, {len(seconds)} to do, about {format_duration(total)} on this machine's {device}"
        f"{_side_by_side(placement)}",
        *placement.notes,
    ]
    if total > _TOO_LONG_SECONDS and experiment.device.type == "cpu" and experiment.settings.scale == "paper":
        lines.append(
            "that is days on a CPU: --scale open fills the same tables with small models, --scale quick with few runs; "
            "--models, --augmentations, --folds and --repeats narrow the grid"
        )
    return lines


def _side_by_side(placement: Placement) -> str:
    if placement.at_a_time == 1:
        return ""
    return f", {placement.at_a_time} runs at a time with {counted(placement.threads, 'thread')} each"


def cost_lines(
    experiment: Experiment, tables: Sequence[str], seconds: Mapping[RunId, float], cost: CostModel, at_a_time: int
) -> list[str]:
    """Return lines with the cost of each table on this machine, and with what is measured and what is assumed.

    Args:
        experiment: Settings and data.
        tables: Names of the requested tables.
        seconds: Estimated seconds of each run that is still to do, in the order in which they are begun.
        cost: Measured paces.
        at_a_time: Number of runs at a time.
    """
    settings = experiment.settings
    lines = [f"measured just now on this machine ({cost.device}), milliseconds per segment, batches of {cost.batch}:"]
    lines.append(f"  {'':14}{'training step':>15}{'forward pass':>15}{'attack step':>15}")
    for name, pace in cost.pace.items():
        cells = "".join(f"{1000 * value:15.2f}" for value in (pace.training, pace.forward, pace.attack))
        lines.append(f"  {name:14}{cells}")
    number, limit = epochs(settings), settings.training.max_epochs
    ends = "the limit" if number == limit else f"assuming that early stopping ends it before the limit of {limit}"
    lines += [
        f"extrapolated from it: {number:.0f} epochs a training ({ends}), times the segments of each part; "
        f"{settings.attack.bim_steps} steps of BIM; no time for reading, spectrograms and yardsticks",
        "cost of each table if it is made alone:",
    ]
    width = max(8, *(len(table) for table in TABLES))
    for table in tables:
        own = [duration for run_id, duration in seconds.items() if table in tables_of(run_id.point)]
        if own:
            lines.append(
                f"  {table:{width}} {counted(len(own), 'run'):>10}, about {format_duration(makespan(own, at_a_time))}"
            )
    total = format_duration(makespan(seconds.values(), at_a_time))
    shared = "runs that several tables share counted once"
    lines.append(f"  {'all':{width}} {counted(len(seconds), 'run'):>10}, about {total}; {shared}")
    networks = [run_id for run_id in seconds if run_id.point.model not in YARDSTICKS]
    return lines + (_predicted_lines(experiment, tables, networks) if cost.device == "cpu" else [])


def _factor(noun: str, values: Sequence[str]) -> str:
    names = list(dict.fromkeys(values))
    listed = ", ".join(names if len(names) <= 5 else [*names[:2], "...", names[-1]])
    return f"{counted(len(names), noun)} ({listed})"


def _predicted_lines(experiment: Experiment, tables: Sequence[str], runs: Sequence[RunId]) -> list[str]:
    """Return the predicted time of each table on GPUs that this machine does not have, or nothing for a small grid."""
    paces = predicted_paces(experiment.settings)
    models = {run_id.point.model for run_id in runs}
    if not models or not paces or not all(models <= of_chip.keys() for of_chip in paces.values()):
        return []
    of_any_model = {replace(run_id.point, model=""): run_id.point for run_id in runs}
    counts = {key: segment_counts(experiment, point) for key, point in of_any_model.items()}
    seconds = {
        run_id: [
            of_chip[run_id.point.model].seconds(counts[replace(run_id.point, model="")]) for of_chip in paces.values()
        ]
        for run_id in runs
    }
    if all(sum(column) < _NOT_WORTH_PREDICTING_SECONDS for column in zip(*seconds.values(), strict=True)):
        return []
    rows = {table: [row for run_id, row in seconds.items() if table in tables_of(run_id.point)] for table in tables}
    width = max(8, *(len(table) for table in TABLES))
    lines = [
        "predicted, not measured: the same on one GPU, trained in bfloat16 (benchmarks/results/predicted.md):",
        f"  {'':{width}}{''.join(f'{chip:>10}' for chip in paces)}",
    ]
    for table, own in [*rows.items(), ("all", [*seconds.values()])]:
        if own:
            cells = "".join(f"{format_duration(sum(column)):>10}" for column in zip(*own, strict=True))
            lines.append(f"  {table:{width}}{cells}")
    return lines
