"""Charts of scores: lines over levels, bars by condition, dots by speaker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from fastser.report.html.svg import COLOURS, LINE, MARKERS, TEXT, new_axes, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEGEND_COLUMNS = 3
_LEGEND_LINE = 0.17
"""Height of a line of a legend in inches."""

MOST_DOTS = 40
"""Number of speakers up to which each one is a dot. More are shown by quartiles."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A score in percent, with its interval where there is one."""

    value: float
    interval: tuple[float, float] | None = None


def line_chart(series: Mapping[str, Mapping[str, Bar]], x_label: str, chance: float, description: str) -> Markup:
    """Draw a line for each system over conditions in a row.

    Args:
        series: For each system its scores by title of the condition. A system may lack conditions.
        x_label: Label of the axis of conditions.
        chance: Chance level in percent.
        description: Text for readers who do not see the chart.
    """
    places = list(dict.fromkeys(title for values in series.values() for title in values))
    figure, axes = _with_legend(2.4, len(series))
    for index, (name, values) in enumerate(series.items()):
        shift = 0.05 * (index - (len(series) - 1) / 2)
        x = [places.index(title) + shift for title in values]
        y = [bar.value for bar in values.values()]
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        axes.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=1.4, label=name)
        for at, bar in zip(x, values.values(), strict=True):
            if bar.interval is not None:
                axes.plot([at, at], bar.interval, color=colour, linewidth=0.8, alpha=0.6)
    _percent_axis(axes, chance)
    axes.set_xticks(range(len(places)), places)
    axes.set_xlabel(x_label, fontsize=9)
    return _finished(figure, description)


def bar_chart(groups: Mapping[str, Mapping[str, Bar]], chance: float, description: str) -> Markup:
    """Draw a group of bars for each system, and a bar for each condition, with intervals.

    Args:
        groups: For each system its scores by title of the bar.
        chance: Chance level in percent.
        description: Text for readers who do not see the chart.
    """
    kinds = list(dict.fromkeys(title for values in groups.values() for title in values))
    figure, axes = _with_legend(2.4, len(kinds), extra=0.3)
    width = 0.8 / len(kinds)
    for index, kind in enumerate(kinds):
        shift = (index - (len(kinds) - 1) / 2) * width
        found = [(place + shift, values[kind]) for place, values in enumerate(groups.values()) if kind in values]
        x = [at for at, _ in found]
        axes.bar(x, [bar.value for _, bar in found], 0.92 * width, color=COLOURS[index % len(COLOURS)], label=kind)
        for at, bar in found:
            if bar.interval is not None:
                axes.plot([at, at], bar.interval, color=TEXT, linewidth=0.9)
    _percent_axis(axes, chance)
    axes.set_xticks(range(len(groups)), [name.replace(" ", "\n", 1).replace("-", "-\n", 1) for name in groups])
    return _finished(figure, description)


def dot_chart(rows: Mapping[str, Sequence[float]], chance: float, description: str) -> Markup:
    """Draw a row for each system with a dot for each speaker, and a bar at their mean.

    Rows of more than `MOST_DOTS` speakers show the quartiles and the extremes instead of dots.

    Args:
        rows: For each system the UAR of each speaker in percent.
        chance: Chance level in percent.
        description: Text for readers who do not see the chart.
    """
    figure, axes = new_axes(0.7 + 0.21 * len(rows), left=2.1, top=0.05)
    for place, values in enumerate(rows.values()):
        y, mean = -place, float(np.mean(values))
        if len(values) <= MOST_DOTS:
            axes.plot(values, [y] * len(values), "o", color=COLOURS[0], alpha=0.55, markersize=4, markeredgewidth=0)
        else:
            lowest, first, third, highest = np.quantile(values, (0, 0.25, 0.75, 1))
            axes.plot([lowest, highest], [y, y], color=COLOURS[0], linewidth=1)
            axes.plot([first, third], [y, y], color=COLOURS[0], linewidth=5, solid_capstyle="butt")
        axes.plot([mean, mean], [y - 0.35, y + 0.35], color=COLOURS[1], linewidth=2)
    axes.axvline(chance, color=TEXT, linewidth=0.8, linestyle=":")
    axes.set_yticks([-place for place in range(len(rows))], list(rows))
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("UAR of one speaker (%)", fontsize=9)
    return svg_of(figure, description)


def _with_legend(height: float, entries: int, extra: float = 0.0) -> "tuple[Figure, Axes]":
    """Return a figure with room for a legend below the axes."""
    lines = -(-entries // _LEGEND_COLUMNS)
    below = 0.55 + extra + _LEGEND_LINE * lines
    return new_axes(height + below, bottom=below)


def _percent_axis(axes: "Axes", chance: float) -> None:
    axes.axhline(chance, color=TEXT, linewidth=0.8, linestyle=":")
    axes.set_ylim(0, 100)
    axes.set_ylabel("UAR (%)", fontsize=9)
    axes.grid(axis="x", visible=False)


def _finished(figure: "Figure", description: str) -> Markup:
    figure.legend(
        loc="lower center",
        ncols=_LEGEND_COLUMNS,
        frameon=False,
        fontsize=8.5,
        labelcolor=TEXT,
        edgecolor=LINE,
        borderaxespad=0.1,
        labelspacing=0.3,
    )
    return svg_of(figure, description)
