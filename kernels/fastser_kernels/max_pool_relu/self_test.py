"""Calls of max_pool_relu for its self-test: maps with an odd number of rows, and with an even one."""

from collections.abc import Iterator

from torch import Tensor

from fastser_kernels.max_pool_relu.op import max_pool_relu
from fastser_kernels.trust.calls import Call, Draw, Size

_CHANNELS = 16


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls."""
    for name, rows in {"even or odd": size.frames, "one row more": size.frames + 1}.items():
        yield Call(name, _run, [draw.maps(size.images, _CHANNELS, rows, size.bins)], learned=1)


def _run(x: Tensor) -> list[Tensor]:
    return [max_pool_relu(x)]
