"""Calls of norm_relu for its self-test: training steps, and an attack in eval mode."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from fastser_kernels.norm_relu.op import SMALL, norm_relu
from fastser_kernels.trust.calls import Call, Draw, Size


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls: at the size of the last maps of a model, and at one that the kernel takes on a CPU too."""
    channels = size.trunk_channels + size.dense_layers * size.growth_rate
    frames, bins = max(size.map_frames // 2, 1), max(size.map_bins // 2, 1)
    enough = SMALL // (size.images * channels * bins) + 1
    parameters = [*draw.norm(channels), draw.parameter(channels, scale=0.1), draw.positive(channels)]
    for name, training, rows in (("training", True, frames), ("larger maps", True, enough), ("eval", False, enough)):
        maps = draw.maps(size.images, channels, rows, bins)
        yield Call(name, partial(_run, training), [maps, *parameters], learned=3 if training else 1)


def _run(training: bool, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> list[Tensor]:
    mean, var = mean.clone(), var.clone()
    return [norm_relu(x, weight, bias, mean, var, training=training, momentum=0.1, eps=1e-5), mean, var]
