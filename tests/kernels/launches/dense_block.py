"""The first DenseBlock of the Proposed model, trained in float32 and float16."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from fastser_kernels.dense_block import backward_kernels, forward_kernels
from torch import Tensor

C0, G, LAYERS, T, F, EPS = 48, 24, 6, 128, 64, 1e-5


def launches(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield forward and backward, with gradients of float32 parameters."""
    for dtype in (torch.float32, torch.float16):
        yield f"{dtype}, training", partial(_train, batch, dtype)


def _train(batch: int, dtype: torch.dtype) -> None:
    maps, x = (_maps(batch, channels, dtype) for channels in (C0 + LAYERS * G, C0))
    read = [C0 + i * G for i in range(LAYERS)]
    vectors, mean = [torch.empty(C, device="meta") for C in read], torch.empty(read[-1], device="meta")
    lists = vectors, vectors, [], [], [torch.empty(G, C, 3, 3, device="meta") for C in read]
    forward_kernels.forward(x, *lists, True, EPS)
    backward_kernels.backward(maps, maps, mean, mean, *lists, True, EPS, False)


def _maps(batch: int, channels: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(batch, T, F, channels, dtype=dtype, device="meta").permute(0, 3, 1, 2)
