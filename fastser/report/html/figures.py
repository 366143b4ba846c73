"""Figures of the page, made from the rows of the tables and the finished runs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from fastser.evaluation.metrics import uar_of
from fastser.experiment.stored_runs import Run
from fastser.experiment.tables import TABLES
from fastser.experiment.tasks import TASKS
from fastser.report.aggregation import Score, Scores
from fastser.report.cells import plain_title
from fastser.report.context import ReportContext
from fastser.report.html.charts import Bar, bar_chart, dot_chart, line_chart
from fastser.report.html.curves import curve_chart, curve_of
from fastser.report.tables import Row
from fastser.training.yardsticks import CONSTANT_ANSWER, YARDSTICKS

_MOST_ROWS = 30
"""Number of systems up to which a chart of speakers shows augmentations."""


class Picture(NamedTuple):
    """A chart with its caption."""

    caption: str
    svg: Markup


def table_pictures(name: str, rows: Sequence[Row], scores: Scores, context: ReportContext) -> list[Picture]:
    """Return the charts of a table: lines over levels where it has levels, else bars where it has several conditions.

    There is one chart for each augmentation.

    Args:
        name: Name of the table.
        rows: Its rows.
        scores: Scores, of which those of clean speech stand beside disturbed speech.
        context: Title of the table and chance level.
    """
    measured = [row for row in rows if row.measured and not row.quoted]
    if TABLES[name].bars:
        return _bars_by_augmentation(measured, context) if measured else []
    if len({row.condition for row in measured}) < 2 or len({row.task for row in measured}) > 1:
        return []
    pictures = []
    for augmentation in dict.fromkeys(row.augmentation for row in measured if row.model not in YARDSTICKS):
        shown = [row for row in measured if row.model in YARDSTICKS or row.augmentation == augmentation]
        series: defaultdict[str, dict[str, Bar]] = defaultdict(dict)
        for row in sorted(shown, key=lambda row: -(row.level or 0)):
            if row.measured and row.model != CONSTANT_ANSWER:
                values = series[plain_title(row.model)]
                clean = scores.score(row.task, *row.system, "clean")
                if not values and clean and clean.finished:
                    values["clean"] = _bar(clean)
                values[row.title or row.condition] = _bar(row.measured)
        trained = "without augmentation" if augmentation == "none" else f"trained with {augmentation}"
        text = f"{context.heading(name)}, {trained}: {_numbers(series)}"
        if any(row.level is None for row in measured):
            over, svg = "by condition", bar_chart(series, context.chance, text)
        else:
            names = {row.level_name for row in measured}
            level = names.pop() if len(names) == 1 else "level"
            over, svg = f"over {level}", line_chart(series, level, context.chance, text)
        pictures.append(Picture(f"Models {trained}: UAR {over}{_with_intervals(series)}.", svg))
    return pictures


def _bars_by_augmentation(rows: Sequence[Row], context: ReportContext) -> list[Picture]:
    groups: defaultdict[str, dict[str, Bar]] = defaultdict(dict)
    for row in rows:
        if row.measured and row.model != CONSTANT_ANSWER:
            groups[plain_title(row.model)][row.augmentation] = _bar(row.measured)
    description = f"UAR across corpora by model and augmentation: {_numbers(groups)}"
    caption = f"UAR by model and augmentation{_with_intervals(groups)}."
    return [Picture(caption, bar_chart(groups, context.chance, description))]


def speaker_pictures(context: ReportContext) -> list[Picture]:
    """Return a chart of the speakers' UAR for each task, without noise and attack."""
    pictures = []
    for task in TASKS.values():
        condition = task.undisturbed
        runs = [run for run in context.runs if run.id.point.task == task.name and condition in run.by_speaker]
        if not runs:
            continue
        rows = _by_speaker(runs, condition)
        if len(rows) > _MOST_ROWS:
            rows = _by_speaker([run for run in runs if run.id.point.augmentation == "none"], condition)
        speakers = max(len(values) for values in rows.values())
        of = "the only test speaker" if speakers == 1 else f"each of {speakers} test speakers, and their mean (orange)"
        caption = f"{context.corpus(task.name)}: UAR of {of}."
        ranges = "; ".join(f"{name} {min(v):.0f} to {max(v):.0f}" for name, v in rows.items())
        pictures.append(Picture(caption, dot_chart(rows, context.chance, f"{caption} {ranges}")))
    return pictures


def _by_speaker(runs: Iterable[Run], condition: str) -> dict[str, list[float]]:
    """Return the UAR of each speaker in percent, over all repeats, by title of the system."""
    counts: dict[str, dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]]] = {}
    for run in runs:
        point = run.id.point
        system = plain_title(point.model) + (f", {point.augmentation}" if point.augmentation != "none" else "")
        for speaker, matrix in run.by_speaker[condition].items():
            counts.setdefault(system, {}).setdefault(speaker, []).append(matrix)
    return {
        system: [100 * uar_of(np.sum(matrices, axis=0)) for matrices in of_speakers.values()]
        for system, of_speakers in counts.items()
    }


def curve_pictures(context: ReportContext) -> list[Picture]:
    """Return two charts for each network and task: training loss, and the monitored validation score."""
    groups: dict[tuple[str, str], dict[str, list[Run]]] = {}
    for run in context.runs:
        point = run.id.point
        if run.metadata.get("epochs"):
            groups.setdefault((point.task, point.model), {}).setdefault(point.augmentation, []).append(run)
    monitor = {"accuracy": "validation accuracy (%)", "uar": "validation UAR (%)"}[context.settings.training.monitor]
    pictures = []
    for (task, model), by_augmentation in groups.items():
        for value, label, scale in (("loss", "training loss", 1.0), ("score", monitor, 100.0)):
            found = {name: curve_of(runs, value, scale) for name, runs in by_augmentation.items()}
            curves = {name: curve for name, curve in found.items() if curve is not None}
            ends = "; ".join(f"{name} from {c.mean[0]:.3g} to {c.mean[-1]:.3g}" for name, c in curves.items())
            caption = f"{plain_title(model)}, {context.corpus(task)}: {label}"
            pictures.append(Picture(caption, curve_chart(curves, label, f"{caption} by epoch: {ends}")))
    return pictures


def _bar(score: Score) -> Bar:
    ends = score.interval
    return Bar(100 * score.mean, (100 * ends.low, 100 * ends.high) if ends else None)


def _with_intervals(series: Mapping[str, Mapping[str, Bar]]) -> str:
    """Return the end of a caption that names the intervals, or an empty text if none is drawn."""
    drawn = any(bar.interval for values in series.values() for bar in values.values())
    return ", with 95 % intervals" if drawn else ""


def _numbers(series: Mapping[str, Mapping[str, Bar]]) -> str:
    """Return the values of a chart as text."""
    return "; ".join(
        f"{name} {', '.join(f'{title} {bar.value:.1f}' for title, bar in values.items())}"
        for name, values in series.items()
    )
