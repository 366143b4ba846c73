"""Calls of the highway network for its self-test: a training step, and an attack."""

from collections.abc import Iterator

from torch import Tensor

from fastser_kernels.highway.op import highway
from fastser_kernels.packing import unpacked
from fastser_kernels.trust.calls import Call, Draw, Size


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls. Large biases keep the inputs of the ReLU away from zero, as those of `Draw.norm` do."""
    units, layers = size.highway_units, size.highway_layers
    x, scale = draw.normal(size.batch, units), 0.3 / units**0.5
    hidden, gates = ([draw.parameter(units, units, scale=scale) for _ in range(layers)] for _ in range(2))
    hidden_biases = [draw.norm(units)[1] for _ in range(layers)]
    gate_biases = [draw.parameter(units, shift=-1.0) for _ in range(layers)]
    tensors = [x, *hidden, *hidden_biases, *gates, *gate_biases]
    yield Call("training", _run, tensors, learned=len(tensors))
    yield Call("gradient of the input alone", _run, tensors, learned=1)


def _run(x: Tensor, *tensors: Tensor) -> list[Tensor]:
    return [highway(x, *unpacked(tensors, 4))]
