"""The plan in words: what is printed before anything starts."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from fastser.experiment.estimate import CostModel, format_duration
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import TABLES, GridPoint, tables_of

_TITLES = {
    "source": "leave-one-speaker-out on",
    "target": "leave-one-speaker-out on",
    "cross": "across corpora,",
}
_Cell = TypeVar("_Cell", bound=GridPoint)
_TOO_LONG_SECONDS = 2 * 86_400


def overview(experiment: Experiment, cells: Sequence[GridPoint], missing: Mapping[str, str]) -> list[str]:
    """Lines that describe a plan.

    Args:
        experiment: Settings and data.
        cells: The whole plan.
        missing: Why a table is not filled, by table.
    """
    lines = [f"plan ({experiment.settings.scale} scale, {experiment.device}):"]
    for task, title in _TITLES.items():
        of_task = [cell for cell in cells if cell.task == task]
        if of_task:
            factors = [
                _factor("model", [cell.model for cell in of_task]),
                _factor("augmentation", [cell.augmentation for cell in of_task]),
                _factor("fold", [cell.fold for cell in of_task]),
                _count(max(cell.repeat for cell in of_task), "repeat"),
            ]
            corpus = experiment.identify(of_task[0]).corpus
            lines += [f"  {title} {corpus}:", f"    {' x '.join(factors)} = {_count(len(of_task), 'training')}"]
    for table, reason in missing.items():
        lines.append(f"  {table}: {'half filled' if table == 'table1' else 'not filled'}, {reason}")
    return lines


def outlook(experiment: Experiment, reused: int, failed: int, to_do: int, seconds: float, device: str) -> list[str]:
    """Lines that say how much of a plan is left.

    Args:
        experiment: Settings and device.
        reused: Trainings that are finished.
        failed: Those that have failed before and are left alone.
        to_do: All others.
        seconds: Estimated time for these.
        device: Where that was estimated.
    """
    left_alone = f", {failed} failed before (--retry-failed tries again)" if failed else ""
    lines = [f"{reused} reused{left_alone}, {to_do} to do, about {format_duration(seconds)} on this machine's {device}"]
    if seconds > _TOO_LONG_SECONDS and experiment.device.type == "cpu" and experiment.settings.scale == "paper":
        lines.append(
            "that is days on a CPU: --scale quick fills the same tables with small models; "
            "--models, --augmentations, --folds and --repeats narrow the grid"
        )
    return lines


def cost_lines(
    experiment: Experiment, tables: Collection[str], seconds: Mapping[_Cell, float], cost: CostModel
) -> list[str]:
    """Lines that say what each table costs here, what of that was measured and what is assumed.

    Args:
        experiment: Settings and data.
        tables: Those that are asked for, of `TABLES`.
        seconds: Estimated seconds of each training that is still to be run.
        cost: What was measured.
    """
    settings = experiment.settings
    lines = [f"measured just now on this machine ({cost.device}), milliseconds per segment, batches of {cost.batch}:"]
    lines.append(f"  {'':14}{'training step':>15}{'forward pass':>15}{'attack step':>15}")
    for name, pace in cost.pace.items():
        cells = "".join(f"{1000 * value:15.2f}" for value in (pace.training, pace.forward, pace.attack))
        lines.append(f"  {name:14}{cells}")
    epochs, limit = cost.epochs(settings), settings.training.max_epochs
    ends = "the limit" if epochs == limit else f"the limit is {limit}; where early stopping ends a training is assumed"
    lines += [
        f"extrapolated from it: {epochs:.0f} epochs a training ({ends}), times the segments of each part; "
        f"{settings.attack.bim_steps} steps of BIM; no time for reading and spectrograms",
        "what each table costs if it is made alone:",
    ]
    for table in (table for table in TABLES if table in tables):
        own = [duration for cell, duration in seconds.items() if table in tables_of(cell)]
        if own:
            lines.append(f"  {table:8} {_count(len(own), 'training'):>15}, about {format_duration(sum(own))}")
    shared = "trainings that several tables share counted once"
    lines.append(
        f"  all      {_count(len(seconds), 'training'):>15}, about {format_duration(sum(seconds.values()))}; {shared}"
    )
    return lines


def _factor(noun: str, values: Sequence[str]) -> str:
    names = list(dict.fromkeys(values))
    listed = ", ".join(names if len(names) <= 5 else [*names[:2], "...", names[-1]])
    return f"{_count(len(names), noun)} ({listed})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
