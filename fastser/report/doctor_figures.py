"""Pictures of the doctor: levels by speaker, durations by class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fastser.report.figure_text import figure_text
from fastser.runtime.files import atomic_write

_COLOURS = ("#2b6ca3", "#c2571a", "#5b8f3a")


def draw_levels(path: Path, levels: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Draw a box of levels for each speaker, one colour for each corpus, as PNG.

    Args:
        path: The PNG file.
        levels: Levels in dB relative to full scale by corpus and speaker.
    """
    names = {corpus: sorted(by_speaker) for corpus, by_speaker in levels.items()}
    panels = [(corpus, names[corpus], [levels[corpus][name] for name in names[corpus]]) for corpus in levels]
    _draw(path, panels, "level (dB relative to full scale)", "speakers of")


def draw_durations(path: Path, durations: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Draw a box of durations for each class, one colour for each corpus, as PNG.

    Args:
        path: The PNG file.
        durations: Durations in seconds by corpus and class.
    """
    panels = [(corpus, list(by_class), list(by_class.values())) for corpus, by_class in durations.items()]
    _draw(path, panels, "duration (s)", "classes of")


def _draw(path: Path, panels: Sequence[tuple[str, list[str], list[Sequence[float]]]], label: str, of: str) -> None:
    """Draw a panel of boxes for each corpus, with one axis of values."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    widest = max(len(names) for _, names, _ in panels)
    size = (min(4 + 0.3 * widest, 24), 0.8 + 3.2 * len(panels))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    all_axes = figure.subplots(len(panels), 1, sharey=True, squeeze=False)[:, 0]
    for axes, (corpus, names, values), colour in zip(all_axes, panels, _COLOURS, strict=False):
        axes.boxplot(
            values,
            patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.6},
            medianprops={"color": "black"},
            flierprops={"markersize": 2},
        )
        axes.set_xticks(
            range(1, len(names) + 1), [figure_text(name) for name in names], rotation=90 if widest > 12 else 0
        )
        axes.set_ylabel(label)
        axes.set_title(f"{of} {figure_text(corpus)}", fontsize=11)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as part:
        FigureCanvasAgg(figure).print_png(part)
