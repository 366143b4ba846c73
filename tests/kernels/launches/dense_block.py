"""The DenseBlocks of Proposed (G = 24) and of DenseNet (G = 16) on a batch of 64 segments."""

from collections.abc import Callable, Iterator

import torch
from fastser_kernels.dense_block import backward_kernels, forward_kernels
from torch import Tensor

N, LAYERS, EPS = 64, 6, 1e-5
BLOCKS = {
    "Proposed 1": (48, 24, 128, 64),
    "Proposed 2": (192, 24, 64, 32),
    "DenseNet 1": (32, 16, 128, 64),
    "DenseNet 2": (128, 16, 64, 32),
    "DenseNet 3": (224, 16, 32, 16),
}
"""C0, G, T, F."""


def launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """Forward, in training and eval, and backward, with and without gradients of the parameters; fp32 parameters."""
    for dtype in (torch.bfloat16, torch.float32):
        for block, sizes in BLOCKS.items():
            for training in (True, False):
                name = f"{block}, {dtype}, {'training' if training else 'eval'}"
                yield f"{name}, forward", lambda s=sizes, d=dtype, t=training: _forward(*s, d, t)
                for input_only in (False, True):
                    kind = "input gradient" if input_only else "backward"
                    yield f"{name}, {kind}", lambda s=sizes, d=dtype, t=training, i=input_only: _backward(*s, d, t, i)


def _maps(channels: int, T: int, F: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(N, T, F, channels, dtype=dtype, device="meta").permute(0, 3, 1, 2)


def _lists(C0: int, G: int, training: bool) -> list[list[Tensor]]:
    channels = [C0 + i * G for i in range(LAYERS)]
    vectors = [torch.empty(C, device="meta") for C in channels]
    weights = [torch.empty(G, C, 3, 3, device="meta") for C in channels]
    return [vectors, vectors, [] if training else vectors, [] if training else vectors, weights]


def _forward(C0: int, G: int, T: int, F: int, dtype: torch.dtype, training: bool) -> None:
    forward_kernels.forward(_maps(C0, T, F, dtype), *_lists(C0, G, training), training, EPS)


def _backward(C0: int, G: int, T: int, F: int, dtype: torch.dtype, training: bool, input_only: bool) -> None:
    maps = _maps(C0 + LAYERS * G, T, F, dtype)
    statistics = torch.empty(C0 + (LAYERS - 1) * G if training else 0, device="meta")
    lists = _lists(C0, G, training)
    backward_kernels.backward(maps, maps, statistics, statistics, *lists, training, EPS, input_only)
