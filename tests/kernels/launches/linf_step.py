"""The L-infinity step in float16."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from fastser_kernels.linf_step import kernels


def launches(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield a step on paper-scale segments, within bounds."""
    x = torch.empty(batch, 256, 128, dtype=torch.float16, device="meta")
    yield "torch.float16", partial(kernels.step, x, x, x, 0.1, 0.1, -1.0, 1.0)
