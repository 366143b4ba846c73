"""Batches of 64 segments from a bank of paper-scale frames."""

from collections.abc import Callable, Iterator

import torch
from fastser_kernels.gather import kernels


def launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """One and two windows in every dtype; two also with the statistics as a tensor."""
    index = torch.empty(64, dtype=torch.int64, device="meta")
    lam, moments = (torch.empty(n, device="meta") for n in (64, 2))
    windows = index, index, index, index, lam, -40.0, 15.0
    for dtype in (torch.float32, torch.bfloat16):
        frames = torch.empty(1_000_000, 128, dtype=dtype, device="meta")
        yield f"{dtype}", lambda x=frames: kernels.segments(x, index, index, -40.0, 15.0, None, 256)
        yield f"{dtype}, mixup", lambda x=frames: kernels.mixup(x, *windows, None, 256)
    frames = torch.empty(1_000_000, 128, device="meta")
    yield "statistics as a tensor, mixup", lambda: kernels.mixup(frames, *windows, moments, 256)
