"""Segments from a bank in plain PyTorch."""

import torch
from torch import Tensor


def gather_segments(
    frames: Tensor, start: Tensor, length: Tensor, mean: float | Tensor, std: float | Tensor, segment_frames: int
) -> Tensor:
    """Return the result of `fastser_kernels.gather_segments`; indices outside the bank are clamped to it."""
    offset = torch.arange(segment_frames, device=start.device)
    place = (start[:, None] + offset).clamp(0, len(frames) - 1)
    window = (frames[place] - mean) / std
    return window * (offset < length[:, None])[:, :, None]


def gather_mixup(
    frames: Tensor,
    start_a: Tensor,
    length_a: Tensor,
    start_b: Tensor,
    length_b: Tensor,
    lam: Tensor,
    mean: float | Tensor,
    std: float | Tensor,
    segment_frames: int,
) -> Tensor:
    """Return the result of `fastser_kernels.gather_mixup`; indices outside the bank are clamped to it."""
    a = gather_segments(frames, start_a, length_a, mean, std, segment_frames)
    b = gather_segments(frames, start_b, length_b, mean, std, segment_frames)
    return torch.lerp(b, a, lam.to(a.dtype)[:, None, None])
