"""Calls of norm_relu for its self-test: a training step, and an attack in eval mode."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from fastser_kernels.norm_relu.op import SMALL, norm_relu
from fastser_kernels.trust.calls import Call, Draw, Size


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls. Smaller maps get more rows, because on a CPU the reference takes the small ones."""
    channels = size.trunk_channels
    per_row = size.images * channels * size.map_bins
    x = draw.maps(size.images, channels, max(size.map_frames, SMALL // per_row + 1), size.map_bins)
    tensors = [x, *draw.norm(channels), draw.parameter(channels, scale=0.1), draw.positive(channels)]
    yield Call("training", partial(_run, True), tensors, learned=3)
    yield Call("eval", partial(_run, False), tensors, learned=1)


def _run(training: bool, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> list[Tensor]:
    mean, var = mean.clone(), var.clone()
    return [norm_relu(x, weight, bias, mean, var, training=training, momentum=0.1, eps=1e-5), mean, var]
