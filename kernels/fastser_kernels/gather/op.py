"""Batches cut from a packed bank of spectrogram frames, and mixtures of two such batches.

    a[i, t] = (frames[start[i] + t] - mean) / std   for t < length[i], else 0
    mix[i]  = lam[i] * a[i] + (1 - lam[i]) * b[i]

Shapes: frames `[F_total, bins]`, start and length `[B]`, result `[B, segment_frames, bins]`. Padding is 0 after the
normalisation, so a padded frame is an average frame. Source of the mixture: Zhang et al. 2018 (mixup).
"""

import torch
from torch import Tensor


def gather_segments(
    frames: Tensor, start: Tensor, length: Tensor, mean: float | Tensor, std: float | Tensor, segment_frames: int
) -> Tensor:
    """Cut normalised windows out of the bank.

    Args:
        frames: The bank `[F_total, bins]`, floating point, finite.
        start: First frame of each segment, int64 `[B]`.
        length: Number of real frames from `start` on, int64 `[B]`; more than `segment_frames` is allowed.
        mean: Subtracted from every frame; a number or a 0-d tensor.
        std: Every frame is divided by it; a number or a 0-d tensor.
        segment_frames: Width of the result.

    Returns:
        `[B, segment_frames, bins]` in the dtype of `frames`.

    Raises:
        ValueError: If a shape is wrong.
        IndexError: If a segment leaves the bank and `start` is on the CPU. On other devices, where asking would wait
            for the device, indices are clamped to the bank.
    """
    if frames.dim() != 2:
        raise ValueError(f"frames must be [F_total, bins], got {list(frames.shape)}")
    if start.dim() != 1 or start.shape != length.shape:
        raise ValueError(f"start and length must both be [B], got {list(start.shape)} and {list(length.shape)}")
    if start.device.type == "cpu" and not torch.compiler.is_compiling():
        _check_range(frames.shape[0], start, length.clamp(max=segment_frames))
    offset = torch.arange(segment_frames, device=start.device)
    place = (start[:, None] + offset).clamp_(0, frames.shape[0] - 1)
    window = frames.index_select(0, place.flatten()).view(*place.shape, frames.shape[1])
    inside = (offset < length[:, None]).to(frames.dtype)
    return window.sub_(mean).div_(std).mul_(inside[:, :, None])


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
    """Cut two batches out of the bank and mix them: `lam * a + (1 - lam) * b`.

    Args:
        frames: The bank `[F_total, bins]`, floating point.
        start_a: First frame of each segment of batch a, int64 `[B]`.
        length_a: Number of real frames of each segment of batch a, int64 `[B]`.
        start_b: As `start_a`, of the partners.
        length_b: As `length_a`, of the partners.
        lam: Weight of a, `[B]`.
        mean: As in `gather_segments`.
        std: As in `gather_segments`.
        segment_frames: Width of the result.

    Returns:
        `[B, segment_frames, bins]` in the dtype of `frames`.

    Raises:
        ValueError: If a shape is wrong.
        IndexError: As `gather_segments`.
    """
    for name, tensor in {"start_b": start_b, "lam": lam}.items():
        if tensor.shape != start_a.shape:
            raise ValueError(f"{name} must be {list(start_a.shape)} as start_a, got {list(tensor.shape)}")
    start, length = torch.cat([start_a, start_b]), torch.cat([length_a, length_b])
    a, b = gather_segments(frames, start, length, mean, std, segment_frames).chunk(2)
    return b.lerp_(a, lam.to(a.dtype)[:, None, None])


def _check_range(num_frames: int, start: Tensor, length: Tensor) -> None:
    outside = (start < 0) | (length < 0) | (start > num_frames - length)
    if outside.any():
        i = int(outside.nonzero()[0])
        raise IndexError(
            f"start[{i}] = {int(start[i])} with {int(length[i])} frames leaves the bank of {num_frames} frames"
        )
