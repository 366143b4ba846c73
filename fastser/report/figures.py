"""Bar charts: UAR of every model with every augmentation."""

import math
from collections.abc import Sequence
from pathlib import Path

from fastser.augmentation import AUGMENTATIONS
from fastser.models import MODELS
from fastser.report.figure_text import figure_text
from fastser.report.tables import Row
from fastser.runtime.files import atomic_write
from fastser.training.yardsticks import LOWEST_USEFUL, YARDSTICKS


def draw_bars(path: Path, rows: Sequence[Row], title: str, chance: float) -> None:
    """Draw a group of bars per network and a bar per augmentation, with the standard deviation over repeats, as PNG.

    The yardstick `LOWEST_USEFUL` and chance are lines.

    Args:
        path: The PNG file.
        rows: Rows of one table with one condition. At least one network is measured.
        title: Title of the chart.
        chance: Chance level in percent.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measured = {(row.model, row.augmentation): score for row in rows if not row.yardstick and (score := row.measured)}
    lowest_useful = [100 * row.measured.mean for row in rows if row.model == LOWEST_USEFUL and row.measured]
    models = [model for model in MODELS.values() if any(cell[0] == model.name for cell in measured)]
    augmentations = [a for a in AUGMENTATIONS.values() if any(cell[1] == a.name for cell in measured)]
    width = 0.8 / len(augmentations)
    figure = Figure(figsize=(9, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for position, augmentation in enumerate(augmentations):
        shift = (position - (len(augmentations) - 1) / 2) * width
        cells = [
            (x, measured[model.name, augmentation.name])
            for x, model in enumerate(models)
            if (model.name, augmentation.name) in measured
        ]
        axes.bar(
            [x + shift for x, _ in cells],
            [100 * score.mean for _, score in cells],
            width=0.92 * width,
            yerr=[math.nan if score.std is None else 100 * score.std for _, score in cells],
            error_kw={"elinewidth": 1, "capsize": 2},
            color=augmentation.colour,
            label=augmentation.name,
        )
    axes.axhline(chance, color="black", linewidth=1, linestyle="--", label=f"chance ({chance:.3g} %)")
    for uar in lowest_useful:
        label = f"{YARDSTICKS[LOWEST_USEFUL].title} ({uar:.1f} %)"
        axes.axhline(uar, color="black", linewidth=1, linestyle=":", label=label)
    axes.set_xticks(range(len(models)), [model.title for model in models])
    repeated = any(score.std is not None for score in measured.values())
    axes.set_ylabel("UAR (%), ± std over repeats" if repeated else "UAR (%)")
    axes.set_title(figure_text(title), fontsize=11)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(augmentations) + 1 + len(lowest_useful), frameon=False)
    with atomic_write(path) as part:
        FigureCanvasAgg(figure).print_png(part)
