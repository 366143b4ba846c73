"""The changes that are tested, by name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastser.evaluation.changes.change import Change
from fastser.evaluation.changes.ends import crop, zeros
from fastser.evaluation.changes.filters import high_pass, low_pass, telephone, tilt
from fastser.evaluation.changes.level import clip, gain, offset, tone, white_noise
from fastser.evaluation.changes.room import reverberate
from fastser.runtime.registry import Registry

_SMALL = "Derington et al. 2023 (ser-tests), small changes"
_FILTER = "Derington et al. 2023 (ser-tests), small changes; first order chosen here"
_OFFSET = "not in a published test that we know; size chosen here"
_TILT = "Derington et al. 2023 (ser-tests), spectral tilt; slopes chosen here"
_PHONE = "ITU-T G.711 (mu-law), telephone band 300 to 3,400 Hz"
_ROOM = "Polack 1988, exponentially decaying noise; times chosen here"


@dataclass(frozen=True, slots=True)
class NamedChange:
    """A change of the waveform that models are tested under.

    Attributes:
        name: Name of the condition, "gain+2db".
        title: What is done, in words.
        apply: The change.
        source: Where it is described.
        quick: Whether the suite "quick" has it: the hardest level of each kind.
    """

    name: str
    title: str
    apply: Change = field(repr=False)
    source: str
    quick: bool = False


def _series(
    name: Callable[[Any], str],
    title: Callable[[Any], str],
    apply: Callable[..., Any],
    parameter: str,
    values: tuple[Any, ...],
    source: str,
) -> list[NamedChange]:
    """Return one change per value of a parameter. The last one is the hardest."""
    return [
        NamedChange(name(value), title(value), partial(apply, **{parameter: value}), source, quick=value == values[-1])
        for value in values
    ]


CHANGES = Registry(
    "change",
    [
        *_series(lambda v: f"gain{v:+g}db", lambda v: f"gain of {v:+g} dB", gain, "decibels", (-1, 1, -2, 2), _SMALL),
        NamedChange("offset", "constant of 10 % of the level added", partial(offset, share=0.1), _OFFSET, quick=True),
        *_series(
            lambda v: f"clipping-{100 * v:g}%",
            lambda v: f"{100 * v:g} % of the samples clipped",
            clip,
            "share",
            (0.001, 0.002, 0.003),
            _SMALL,
        ),
        *_series(
            lambda v: f"crop-start-{v}", lambda v: f"first {v} samples missing", crop, "first", (100, 500, 1000), _SMALL
        ),
        *_series(
            lambda v: f"crop-end-{v}", lambda v: f"last {v} samples missing", crop, "last", (100, 500, 1000), _SMALL
        ),
        *_series(
            lambda v: f"zeros-before-{v}", lambda v: f"{v} zeros before", zeros, "before", (100, 500, 1000), _SMALL
        ),
        *_series(lambda v: f"zeros-after-{v}", lambda v: f"{v} zeros after", zeros, "after", (100, 500, 1000), _SMALL),
        *_series(
            lambda v: f"high-pass-{v}hz", lambda v: f"high-pass at {v} Hz", high_pass, "hertz", (50, 100, 150), _FILTER
        ),
        *_series(
            lambda v: f"low-pass-{v}hz", lambda v: f"low-pass at {v} Hz", low_pass, "hertz", (7500, 7000, 6500), _FILTER
        ),
        *_series(
            lambda v: f"tone-{v}db", lambda v: f"sine of 5 to 7 kHz at {v} dB SNR", tone, "snr_db", (50, 45, 40), _SMALL
        ),
        *_series(
            lambda v: f"white-noise-{v}db",
            lambda v: f"white noise at {v} dB SNR",
            white_noise,
            "snr_db",
            (45, 40, 35),
            _SMALL,
        ),
        *_series(
            lambda v: f"tilt{v:+g}db",
            lambda v: f"spectrum tilted by {v:+g} dB per octave",
            tilt,
            "decibels_per_octave",
            (3, -3),
            _TILT,
        ),
        NamedChange("telephone", "telephone band and mu-law", telephone, _PHONE, quick=True),
        *_series(
            lambda v: f"room-{v:g}s",
            lambda v: f"room with a reverberation time of {v:g} s, direct sound as loud as the tail",
            partial(reverberate, direct_to_reverberant_db=0.0),
            "seconds",
            (0.3, 0.6, 1.0),
            _ROOM,
        ),
    ],
)
"""All changes by name."""
