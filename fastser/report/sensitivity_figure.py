"""Forest plot of a sensitivity report: one line per answer, with the interval of its difference."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from fastser.models import MODELS
from fastser.report.figure_text import figure_text
from fastser.report.sensitivity import Move
from fastser.report.sensitivity_sentences import SUBJECT, published_differences
from fastser.runtime.files import atomic_write

COLOURS = ("#1b6ca8", "#d1603d", "#5a8f3c", "#8a5fa8", "#777777")
MARKERS = ("o", "s", "^", "D", "v")


def draw_forest(path: Path, found: Sequence[Move], title: str) -> None:
    """Draw the difference of each answer from the baseline, with its 95 % interval, as PNG.

    The band in the background is as wide as the paper's difference between Proposed and the first other model, on
    the corpus where it is smaller.

    Args:
        path: The PNG file.
        found: Moves under one condition.
        title: Title of the plot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    answers = list(dict.fromkeys((move.question, move.answer) for move in found))
    models = list(dict.fromkeys(move.model for move in sorted(found, key=lambda move: list(MODELS).index(move.model))))
    models.reverse()
    figure = Figure(figsize=(9, 1.9 + 0.19 * len(answers) * max(len(models), 2)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    step = 0.7 / len(models)
    for number, model in enumerate(models):
        of_model = [move for move in found if move.model == model]
        shift = (number - (len(models) - 1) / 2) * step
        places = [answers.index((move.question, move.answer)) + shift for move in of_model]
        values = [100 * move.value for move in of_model]
        ends = [
            (100 * (move.value - move.difference.low), 100 * (move.difference.high - move.value))
            if move.difference
            else (0.0, 0.0)
            for move in of_model
        ]
        axes.errorbar(
            values,
            places,
            xerr=list(zip(*ends, strict=True)),
            linestyle="",
            marker=MARKERS[number % len(MARKERS)],
            markersize=4.5,
            elinewidth=1.2,
            capsize=2.5,
            color=COLOURS[number % len(COLOURS)],
            label=MODELS[model].title,
        )
    others = [model for model in reversed(models) if model != SUBJECT and published_differences(model)]
    if SUBJECT in models and others:
        corpus, width = min(published_differences(others[0]).items(), key=lambda item: item[1])
        pair = f"{MODELS[SUBJECT].title} - {MODELS[others[0]].title}"
        label = f"within {width:.1f} points: {pair} in the paper's Table 1 ({corpus})"
        axes.axvspan(-width, width, color="#e4e4e4", zorder=0, label=label)
    axes.axvline(0, color="black", linewidth=1)
    labels = [fill(f"{question.title}: {answer}", 60, break_on_hyphens=False) for question, answer in answers]
    axes.set_yticks(range(len(answers)), labels, fontsize=8)
    axes.set_ylim(len(answers) - 0.4, -0.6)
    axes.set_xlabel("UAR minus UAR of the baseline (points), 95 % interval")
    axes.set_title(figure_text(title), fontsize=11)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(models) + 1, frameon=False, fontsize=8)
    with atomic_write(path) as part:
        FigureCanvasAgg(figure).print_png(part)
