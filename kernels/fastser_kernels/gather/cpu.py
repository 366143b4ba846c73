"""Segments from a bank as weighted sums of its rows, computed by ATen's embedding bag in one pass.

    lam (a - mean) / std + (1 - lam) (b - mean) / std = w_a a + w_b b - mean (w_a + w_b)

where w_a = lam / std and w_b = (1 - lam) / std for real frames, and 0 for padding.
"""

import torch
from torch import Tensor

from fastser_kernels.registration import accumulation_dtype


def segments(
    frames: Tensor,
    start: Tensor,
    length: Tensor,
    mean: float,
    std: float,
    moments: Tensor | None,
    segment_frames: int,
) -> Tensor:
    """Return one window per segment."""
    mean, std = moments.tolist() if moments is not None else (mean, std)
    weight = frames.new_ones(len(start), dtype=accumulation_dtype(frames)).div_(std)
    return _weighted_sum(frames, start[None], length[None], weight[None], mean, segment_frames)


def mixup(
    frames: Tensor,
    start_a: Tensor,
    length_a: Tensor,
    start_b: Tensor,
    length_b: Tensor,
    lam: Tensor,
    mean: float,
    std: float,
    moments: Tensor | None,
    segment_frames: int,
) -> Tensor:
    """Return the mixture of two windows per segment."""
    mean, std = moments.tolist() if moments is not None else (mean, std)
    lam = lam.to(accumulation_dtype(frames))
    start, length = torch.stack([start_a, start_b]), torch.stack([length_a, length_b])
    return _weighted_sum(frames, start, length, torch.stack([lam, 1 - lam]).div_(std), mean, segment_frames)


def _weighted_sum(
    frames: Tensor, start: Tensor, length: Tensor, weight: Tensor, mean: float, segment_frames: int
) -> Tensor:
    """Return the sums over the windows `[windows, B]` of each segment, `[B, segment_frames, bins]`."""
    offset = torch.arange(segment_frames, device=start.device)
    # A sum that overflows is negative, so it is clamped to the bank too.
    rows = (start[:, :, None] + offset).clamp_(0, len(frames) - 1)
    weights = (offset < length[:, :, None]) * weight[:, :, None]
    # The order of embedding_bag, bag after bag: [B * segment_frames * windows].
    row, row_weight = (tensor.permute(1, 2, 0).flatten() for tensor in (rows, weights))
    bank = frames
    if frames.dtype != weights.dtype:
        bank, row = frames.index_select(0, row).to(weights.dtype), torch.arange(len(row), device=row.device)
    first = torch.arange(0, len(row), len(weight), device=row.device)
    total = torch.embedding_bag(bank, row, first, mode=0, per_sample_weights=row_weight)[0]  # mode 0 is the sum
    total = total.view(*rows.shape[1:], frames.shape[1])
    return total.sub_(weights.sum(0)[:, :, None], alpha=mean).to(frames.dtype)
