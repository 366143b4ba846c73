"""BN and ReLU at the end of the DenseNet's trunk, trained in float32 and float16."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from fastser_kernels.norm_relu import kernels


def launches(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield forward and backward, with gradients of float32 parameters."""
    for dtype in (torch.float32, torch.float16):
        yield f"{dtype}, training", partial(_train, batch, dtype)


def _train(batch: int, dtype: torch.dtype) -> None:
    x, maps = (
        torch.empty(batch, 192, 64, 32, dtype=dtype, device="meta").contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    weight, bias = torch.empty(2, 192, device="meta")
    _, *statistics = kernels.forward(x, weight, bias, None, None, True, 1e-5)
    kernels.backward(maps, x, *statistics, weight, bias, None, None, True, 1e-5, False)
