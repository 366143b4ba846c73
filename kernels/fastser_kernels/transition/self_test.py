"""Calls of the transition for its self-test: a training step, and an attack in eval mode."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from fastser_kernels.transition.op import transition
from fastser_kernels.trust.calls import Call, Draw, Size


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls."""
    channels = size.trunk_channels
    x = draw.maps(size.images, channels, size.map_frames, size.map_bins)
    tensors = [x, *draw.norm(channels), draw.kernel(channels, channels, 1)]
    tensors += [draw.parameter(channels, scale=0.1), draw.positive(channels)]
    yield Call("training", partial(_run, True), tensors, learned=4)
    yield Call("eval", partial(_run, False), tensors, learned=1)


def _run(
    training: bool, x: Tensor, weight: Tensor, bias: Tensor, kernel: Tensor, mean: Tensor, var: Tensor
) -> list[Tensor]:
    mean, var = mean.clone(), var.clone()
    return [transition(x, weight, bias, mean, var, kernel, training=training, momentum=0.1, eps=1e-5), mean, var]
