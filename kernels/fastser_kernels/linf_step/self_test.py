"""Calls of the L-infinity step for its self-test: with bounds and without."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from fastser_kernels.linf_step.op import linf_step
from fastser_kernels.trust.calls import Call, Draw, Size

_ALPHA, _EPS, _BOUNDS = 0.25, 0.5, (-1.0, 1.5)


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls. Some gradients are zero, and some steps leave the ball."""
    shape = size.batch, size.frames, size.bins
    x0, gradient = draw.normal(*shape), draw.normal(*shape)
    gradient[:, ::3] = 0.0
    x_adv = x0 + draw.normal(*shape).clamp(-_EPS, _EPS)
    for name, bounds in {"without bounds": None, "with bounds": _BOUNDS}.items():
        yield Call(name, partial(_run, bounds), [x_adv, x0, gradient])


def _run(bounds: tuple[float, float] | None, x_adv: Tensor, x0: Tensor, gradient: Tensor) -> list[Tensor]:
    moved = x_adv.clone()
    linf_step(moved, x0, gradient, _ALPHA, _EPS, bounds)
    return [moved]
