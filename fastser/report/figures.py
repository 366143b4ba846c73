"""Figure 2: cross-corpus UAR of every model with every augmentation."""

import math
from collections.abc import Sequence
from pathlib import Path

from fastser.experiment.grid import AUGMENTATIONS, MODELS
from fastser.report.tables import Row
from fastser.runtime.files import atomic_write

COLOURS = {"none": "#999999", "speed": "#56b4e9", "mixup": "#e69f00", "speed+mixup": "#0072b2"}
"""Okabe and Ito's palette, which colour-blind readers can tell apart, also in grey."""

CHANCE_PERCENT = 25


def draw_figure2(path: Path, rows: Sequence[Row], title: str) -> None:
    """Draw grouped bars (a group per model, a bar per augmentation) with the std over repeats, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measured = {(row.model, row.augmentation): summary for row in rows if (summary := row.measured)}
    models = [model for model in MODELS if any(cell[0] == model for cell in measured)]
    augmentations = [name for name in AUGMENTATIONS if any(cell[1] == name for cell in measured)]
    width = 0.8 / len(augmentations)
    figure = Figure(figsize=(9, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for position, augmentation in enumerate(augmentations):
        shift = (position - (len(augmentations) - 1) / 2) * width
        cells = [
            (x, measured[model, augmentation]) for x, model in enumerate(models) if (model, augmentation) in measured
        ]
        axes.bar(
            [x + shift for x, _ in cells],
            [100 * summary.mean for _, summary in cells],
            width=0.92 * width,
            yerr=[math.nan if summary.std is None else 100 * summary.std for _, summary in cells],
            error_kw={"elinewidth": 1, "capsize": 2},
            color=COLOURS[augmentation],
            label=augmentation,
        )
    axes.axhline(CHANCE_PERCENT, color="black", linewidth=1, linestyle="--", label=f"chance ({CHANCE_PERCENT} %)")
    axes.set_xticks(range(len(models)), [MODELS[model] for model in models])
    repeated = any(summary.std is not None for summary in measured.values())
    axes.set_ylabel("UAR (%), ± std over repeats" if repeated else "UAR (%)")
    axes.set_title(title, fontsize=11)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(augmentations) + 1, frameon=False)
    with atomic_write(path) as part:
        FigureCanvasAgg(figure).print_png(part)
