"""Calls of the DenseBlock for its self-test: a training step, and an attack in eval mode."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from fastser_kernels.dense_block.op import dense_block
from fastser_kernels.packing import unpacked
from fastser_kernels.trust.calls import Call, Draw, Size


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls."""
    channels = [(2 + i) * size.growth_rate for i in range(size.dense_layers)]
    x = draw.maps(size.images, channels[0], size.map_frames, size.map_bins)
    weights, biases = zip(*map(draw.norm, channels), strict=True)
    kernels = [draw.kernel(size.growth_rate, number, 3) for number in channels]
    running = [*(draw.parameter(number, scale=0.1) for number in channels), *map(draw.positive, channels)]
    tensors = [x, *weights, *biases, *kernels, *running]
    yield Call("training", partial(_run, True), tensors, learned=1 + 3 * size.dense_layers)
    yield Call("eval", partial(_run, False), tensors, learned=1)


def _run(training: bool, x: Tensor, *tensors: Tensor) -> list[Tensor]:
    weights, biases, kernels, means, variances = unpacked(tensors, 5)
    means, variances = ([tensor.clone() for tensor in running] for running in (means, variances))
    maps = dense_block(x, weights, biases, means, variances, kernels, training=training, momentum=0.1, eps=1e-5)
    return [maps, *means, *variances]
