"""The highway network of the Proposed model, all in float32 or all in float16."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from fastser_kernels.highway import kernels


def launches(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield forward and backward, with gradients of the parameters."""
    for dtype in (torch.float32, torch.float16):
        yield f"{dtype}, training", partial(_train, batch, dtype)


def _train(batch: int, dtype: torch.dtype) -> None:
    shapes = (batch, 128), (128, 128), (128,)
    x, weight, bias = (torch.empty(shape, dtype=dtype, device="meta") for shape in shapes)
    kernels.forward(x, [weight], [bias], [weight], [bias])
    kernels.backward(x, [x], [x], [x], [weight], [weight], False)
