"""Calls of the LSTM for its self-test: a training step in each direction."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from fastser_kernels.lstm.op import lstm
from fastser_kernels.trust.calls import Call, Draw, Size


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls. The models halve the first maps twice before the LSTM."""
    units, steps = size.lstm_units, max(size.map_frames // 4, 1)
    x, scale = draw.normal(size.batch, steps, 2 * units), units**-0.5
    weights = [draw.parameter(4 * units, columns, scale=scale) for columns in (2 * units, units)]
    tensors = [x, *weights, draw.parameter(4 * units), draw.parameter(4 * units)]
    yield Call("training", partial(_run, False), tensors, learned=5)
    yield Call("training, reversed", partial(_run, True), tensors, learned=5)


def _run(reverse: bool, x: Tensor, *parameters: Tensor) -> list[Tensor]:
    w_ih, w_hh, b_ih, b_hh = parameters
    return [lstm(x, w_ih, w_hh, b_ih, b_hh, reverse)]
