"""The L-infinity step on a batch of 64 segments."""

from collections.abc import Callable, Iterator

import torch
from fastser_kernels.linf_step import kernels


def launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """In every dtype."""
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.empty(64, 256, 128, dtype=dtype, device="meta")
        yield str(dtype), lambda x=x: kernels.step(x, x, x, 0.1, 0.1, -1.0, 1.0)
