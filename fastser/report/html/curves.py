"""Training curves: loss and validation score by epoch, mean and spread over the runs of each model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from fastser.experiment.stored_runs import Run
from fastser.report.html.svg import COLOURS, TEXT, new_axes, svg_of

_MOST_EPOCHS = 40
"""Number of epochs up to which each one is a point of a curve. Of more, evenly spaced ones are shown."""

_STYLES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Curve:
    """A value by epoch.

    Attributes:
        epochs: Numbers of the epochs.
        mean: Mean over the runs that reached the epoch.
        std: Standard deviation over these runs.
    """

    epochs: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def curve_of(runs: Sequence[Run], value: str, scale: float = 1.0) -> Curve | None:
    """Return the curve of a value of `fastser.training.schedule.Epoch`, or None if no run has epochs.

    It ends where fewer than half of the runs go on.

    Args:
        runs: Runs of one model.
        value: Name of the value.
        scale: Factor of the value, such as 100 for percent.
    """
    series = [[scale * epoch[value] for epoch in run.metadata.get("epochs", ())] for run in runs]
    series = [values for values in series if values]
    if not series:
        return None
    last = int(np.quantile([len(values) for values in series], 0.5, method="lower"))
    shown = np.unique(np.linspace(1, last, min(last, _MOST_EPOCHS)).round().astype(np.int64))
    reached = [[values[epoch - 1] for values in series if len(values) >= epoch] for epoch in shown]
    return Curve(shown, np.array([np.mean(v) for v in reached]), np.array([np.std(v) for v in reached]))


def curve_chart(curves: Mapping[str, Curve], label: str, description: str) -> Markup:
    """Draw a line with a band of one standard deviation for each curve.

    Args:
        curves: Curves by name.
        label: Label of the vertical axis.
        description: Text for readers who do not see the chart.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_axes(2.3, left=0.75, bottom=0.45)
    for index, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        axes.fill_between(curve.epochs, curve.mean - curve.std, curve.mean + curve.std, color=colour, alpha=0.18, lw=0)
        style = _STYLES[index % len(_STYLES)]
        marker = "o" if len(curve.epochs) == 1 else None  # a line through one point is invisible
        axes.plot(curve.epochs, curve.mean, style, marker=marker, color=colour, linewidth=1.6, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=TEXT)
    return svg_of(figure, description)
