"""Batches from a bank of frames at both scales."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from fastser_kernels.gather import kernels

from fastser.settings import SCALES

SIZES = ("paper", "quick")
"""Scales whose models have different sizes. Those of the scale open are quick's."""


def launches(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield one and two windows from a float32 bank; two also with statistics as a tensor, and from a float16 bank."""
    index = torch.empty(batch, dtype=torch.int64, device="meta")
    lam, moments = (torch.empty(n, device="meta") for n in (batch, 2))
    windows = index, index, index, index, lam, -40.0, 15.0
    for scale in SIZES:
        settings = SCALES[scale]
        bins, segment_frames = settings.spectrogram.num_bins, settings.spectrogram.segment_frames
        frames = torch.empty(1_000_000, bins, device="meta")
        yield scale, partial(kernels.segments, frames, index, index, -40.0, 15.0, None, segment_frames)
        yield f"{scale}, mixup", partial(kernels.mixup, frames, *windows, None, segment_frames)
    frames = torch.empty(1_000_000, 128, device="meta")
    yield "statistics as a tensor, mixup", partial(kernels.mixup, frames, *windows, moments, 256)
    yield "torch.float16, mixup", partial(kernels.mixup, frames.half(), *windows, None, 256)
