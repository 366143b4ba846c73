"""Timelines: the spectrogram of a recording above the posteriors of its segments over time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastser.recognition.recogniser import Record
from fastser.report.figure_text import figure_text
from fastser.runtime.files import atomic_write, printable

_WINDOW_SECONDS = 0.025
_RANGE_DB = 70.0
"""Range of the shown levels below the highest one."""


def draw_timeline(
    path: Path, waveform: NDArray[np.float32], sample_rate: int, records: Sequence[Record], classes: Sequence[str]
) -> None:
    """Draw spectrogram and posteriors of a recording as PNG.

    Args:
        path: The PNG file.
        waveform: The recording, float32 [samples].
        sample_rate: Its sample rate in hertz.
        records: Predictions of its segments, in their order.
        classes: Names of the classes, in the order of their colours.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seconds, nfft = len(waveform) / sample_rate, round(_WINDOW_SECONDS * sample_rate)
    figure = Figure(figsize=(9, 5), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.2))
    padded = np.pad(waveform, (0, max(0, nfft - len(waveform))))
    padded = padded + np.float32(1e-9)  # the level of a digital zero is finite
    power, _, _, image = above.specgram(padded, NFFT=nfft, Fs=sample_rate, noverlap=nfft // 2)
    loudest = 10 * np.log10(power.max())
    image.set_clim(loudest - _RANGE_DB, loudest)
    above.set_ylabel("frequency (Hz)")
    above.set_ylim(0, sample_rate / 2)
    above.set_title(figure_text(printable(Path(str(records[0]["file"])).name)), fontsize=11)
    middles = [(record["start"] + record["end"]) / 2 for record in records]
    places = np.array([0.0, *middles, seconds])
    for name in classes:
        values = [record[f"p_{name}"] for record in records]
        percent = 100 * np.array([values[0], *values, values[-1]])
        below.plot(places, percent, marker=".", markevery=[*range(1, len(places) - 1)], label=figure_text(name))
    below.set_xlim(0, seconds)
    below.set_ylim(0, 100)
    below.set_xlabel("time (s), a dot for each segment at its middle")
    below.set_ylabel("posterior (%)")
    below.grid(color="#dddddd", linewidth=0.6)
    below.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(len(classes), 8), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        FigureCanvasAgg(figure).print_png(part)
