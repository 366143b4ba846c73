"""Inline SVG from matplotlib: text stays text, colours follow the page, files stay small."""

import io
import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.0
"""Width of a chart in inches. It stays readable on a screen of 400 pixels."""

TEXT, LINE = "#010203", "#040506"
"""Colours that the page replaces by those of its text and its rules, in dark and in light."""

COLOURS = ("#3b82c4", "#d9703a", "#2f9e6e", "#a565c9", "#cf4f6d", "#8c8a34", "#7d8089")
"""Colours of lines. Each has a contrast of 3 or more to the page, in dark and in light."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Markers of lines, so that no line is known by its colour alone."""

_UNUSED_ID = re.compile(r' id="(?!m[0-9a-f]{10}"|p[0-9a-f]{10}"|C)[^"]*"')
_TAG = re.compile(r"<[^>]*>")
_NUMBER = re.compile(r"(\d+\.\d)\d+")
_FONT = re.compile(r"font(?:-family)?: [^;\"]*'[^;\"]*sans-serif;?")
_HEAD = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>\s*", re.DOTALL)


def new_axes(height: float, left: float = 0.6, bottom: float = 0.5, top: float = 0.1) -> "tuple[Figure, Axes]":
    """Return a figure without background and its axes.

    Args:
        height: Height in inches.
        left: Margin in inches for the labels.
        bottom: Margin in inches.
        top: Margin in inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    figure.patch.set_visible(False)
    right = 0.2
    axes = figure.add_axes(
        (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - bottom - top) / height)
    )
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=TEXT, labelsize=9, color=LINE)
    axes.xaxis.label.set_color(TEXT)
    axes.yaxis.label.set_color(TEXT)
    axes.set_axisbelow(True)
    axes.grid(color=LINE, linewidth=0.5)
    return figure, axes


def svg_of(figure: "Figure", description: str) -> Markup:
    """Return a figure as an SVG element.

    Args:
        figure: The figure.
        description: What a reader who does not see the figure is told.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": description}):
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    text = _UNUSED_ID.sub("", _HEAD.sub("", stream.getvalue()))
    text = _TAG.sub(_with_short_numbers, text.replace(TEXT, "currentColor").replace(LINE, "var(--rule)"))
    text = _FONT.sub("", re.sub(r"\s*\n\s*", " ", text)).replace('<style type="text/css">*{', "<style>svg *{")
    width, height = (72 * size for size in figure.get_size_inches())
    label = escape(description)
    start = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width:g} {height:g}" role="img" '
    return Markup(start + f'aria-label="{label}">' + text.partition(">")[2])


def _with_short_numbers(tag: re.Match[str]) -> str:
    """Return a tag whose coordinates have one decimal. Text between tags, such as the labels of axes, stays."""
    return _NUMBER.sub(r"\1", tag[0])
