"""The first pooling of the CNN, trained in float32 and float16, and maps of an odd size."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from fastser_kernels.max_pool_relu import kernels


def launches(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield forward and backward."""
    for dtype in (torch.float32, torch.float16):
        yield f"{dtype}, training", partial(_train, batch, dtype)


def _train(batch: int, dtype: torch.dtype) -> None:
    x = torch.empty(batch, 257, 129, 16, dtype=dtype, device="meta").permute(0, 3, 1, 2)
    y, chosen = kernels.forward(x)
    kernels.backward(y, chosen, 257, 129)
