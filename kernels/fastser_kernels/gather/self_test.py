"""Calls of the gathering of segments for its self-test: batches with mixup and without."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from fastser_kernels.gather.op import gather_mixup, gather_segments
from fastser_kernels.trust.calls import Call, Draw, Size

_MEAN, _STD = -1.5, 0.75


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls. Some segments are shorter than the result, some longer."""
    bank = draw.normal(8 * size.frames, size.bins)
    starts = [draw.places(size.batch, 6 * size.frames) for _ in range(2)]
    lengths = [draw.places(size.batch, 2 * size.frames) for _ in range(2)]
    yield Call("mixup", partial(_mixup, size.frames), [bank, *starts, *lengths, draw.positive(size.batch) - 0.5])
    yield Call("segments", partial(_segments, size.frames), [bank, starts[0], lengths[0]])


def _mixup(frames: int, bank: Tensor, *tensors: Tensor) -> list[Tensor]:
    start_a, start_b, length_a, length_b, lam = tensors
    return [gather_mixup(bank, start_a, length_a, start_b, length_b, lam, _MEAN, _STD, frames)]


def _segments(frames: int, bank: Tensor, start: Tensor, length: Tensor) -> list[Tensor]:
    mean, std = torch.tensor(_MEAN, device=bank.device), torch.tensor(_STD, device=bank.device)
    return [gather_segments(bank, start, length, mean, std, frames)]
