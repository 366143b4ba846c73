"""Batches cut from a packed bank of spectrogram frames, and mixtures of two such batches.

    a[i, t] = (frames[start[i] + t] - mean) / std   for t < length[i], else 0
    mix[i]  = lam[i] * a[i] + (1 - lam[i]) * b[i]

Shapes: frames `[F_total, bins]`, start and length `[B]`, result `[B, segment_frames, bins]`. Padding is 0 after the
normalisation, so a padded frame is an average frame. Every window is read once, the result written once, in one launch
on a GPU. On a CPU windows are mixed before they are normalised, which costs |mean| / std roundings (3e-6 where that is
100). Frames and lam get no gradient. Source of the mixture: Zhang et al. 2018 (mixup).
"""

import torch
from torch import Tensor

from fastser_kernels.checks import (
    check_device,
    check_dtype,
    check_floating,
    check_inside,
    check_positive,
    check_shape,
    known_at_once,
)
from fastser_kernels.gather import cpu, reference
from fastser_kernels.registration import accumulation_dtype, has_kernel, register


def _fake_segments(
    frames: Tensor,
    start: Tensor,
    length: Tensor,
    mean: float,
    std: float,
    moments: Tensor | None,
    segment_frames: int,
) -> Tensor:
    return frames.new_empty(start.shape[0], segment_frames, frames.shape[1])


def _fake_mixup(
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
    return _fake_segments(frames, start_a, length_a, mean, std, moments, segment_frames)


# `moments`, the mean and the standard deviation [2] on the device of `frames`, replaces `mean` and `std`.
_segments = register(
    "gather_segments(Tensor frames, Tensor start, Tensor length, float mean, float std, Tensor? moments, "
    "SymInt segment_frames) -> Tensor",
    cpu=cpu.segments,
    triton="gather.kernels:segments",
    fake=_fake_segments,
)
_mixup = register(
    "gather_mixup(Tensor frames, Tensor start_a, Tensor length_a, Tensor start_b, Tensor length_b, Tensor lam, "
    "float mean, float std, Tensor? moments, SymInt segment_frames) -> Tensor",
    cpu=cpu.mixup,
    triton="gather.kernels:mixup",
    fake=_fake_mixup,
)


def ideal_bytes(batch: int, segment_frames: int, bins: int, itemsize: int, *, windows: int) -> int:
    """Bytes that a batch must move: one window (`gather_segments`) or two (`gather_mixup`) read, the result written."""
    return (windows + 1) * batch * segment_frames * bins * itemsize


def gather_segments(
    frames: Tensor, start: Tensor, length: Tensor, mean: float | Tensor, std: float | Tensor, segment_frames: int
) -> Tensor:
    """Cut normalised windows out of the bank.

    Args:
        frames: The bank `[F_total, bins]`, floating point, finite.
        start: First frame of each segment, int64 `[B]`.
        length: Number of real frames from `start` on, int64 `[B]`; more than `segment_frames` is allowed.
        mean: Subtracted from every frame; a number, or a 0-d tensor on the device of `frames`.
        std: Every frame is divided by it; likewise.
        segment_frames: Width of the result.

    Returns:
        `[B, segment_frames, bins]` in the dtype of `frames`.

    Raises:
        ValueError: If a shape or device is wrong, or `segment_frames` is below 1.
        TypeError: If a dtype is wrong.
        IndexError: If a segment leaves the bank and `start` is on the CPU. On other devices, where asking would wait
            for the device, indices are clamped to the bank.
    """
    _check_bank(frames, mean, std)
    _check_windows(frames, start, length, segment_frames)
    frames = frames.detach()
    if not has_kernel(frames):
        return reference.gather_segments(frames, start, length, mean, std, segment_frames)
    result: Tensor = _segments(frames, start, length, *_moments(frames, mean, std), segment_frames)
    return result


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
        frames: The bank `[F_total, bins]`, floating point, finite.
        start_a: First frame of each segment of batch a, int64 `[B]`.
        length_a: Number of real frames of each segment of batch a, int64 `[B]`.
        start_b: As `start_a`, of the partners.
        length_b: As `length_a`, of the partners.
        lam: Weight of a, floating point `[B]`.
        mean: As in `gather_segments`.
        std: As in `gather_segments`.
        segment_frames: Width of the result.

    Returns:
        `[B, segment_frames, bins]` in the dtype of `frames`.

    Raises:
        ValueError: As `gather_segments`.
        TypeError: As `gather_segments`.
        IndexError: As `gather_segments`.
    """
    _check_bank(frames, mean, std)
    for name, tensor in (("start_b", start_b), ("lam", lam)):
        if tensor.shape != start_a.shape:
            raise ValueError(f"{name} must be {list(start_a.shape)} as start_a, got {list(tensor.shape)}")
    _check_windows(frames, start_a, length_a, segment_frames, "_a")
    _check_windows(frames, start_b, length_b, segment_frames, "_b")
    check_floating("lam", lam)
    check_device("lam", lam, frames, of="frames")
    frames, lam, windows = frames.detach(), lam.detach(), (start_a, length_a, start_b, length_b)
    if not has_kernel(frames):
        return reference.gather_mixup(frames, *windows, lam, mean, std, segment_frames)
    result: Tensor = _mixup(frames, *windows, lam, *_moments(frames, mean, std), segment_frames)
    return result


def _check_bank(frames: Tensor, mean: float | Tensor, std: float | Tensor) -> None:
    check_shape("frames", frames, ["F_total", "bins"])
    if frames.shape[0] == 0:
        raise ValueError(f"frames must hold at least one frame, got {list(frames.shape)}")
    check_floating("frames", frames)
    for name, value in (("mean", mean), ("std", std)):
        if isinstance(value, Tensor) and value.dim() != 0:
            raise ValueError(f"{name} must be a number or a 0-d tensor, got {list(value.shape)}")


def _check_windows(frames: Tensor, start: Tensor, length: Tensor, segment_frames: int, suffix: str = "") -> None:
    """Check the indices named start and length with this suffix; their range only where that waits for nothing."""
    check_positive(segment_frames=segment_frames)
    names = f"start{suffix}", f"length{suffix}"
    if start.dim() != 1 or start.shape != length.shape:
        raise ValueError(
            f"{names[0]} and {names[1]} must both be [B], got {list(start.shape)} and {list(length.shape)}"
        )
    for name, tensor in zip(names, (start, length), strict=True):
        check_dtype(name, tensor, [torch.int64])
        check_device(name, tensor, frames, of="frames")
    if known_at_once(start):
        used = length.clamp(max=segment_frames)
        check_inside(names[0], start, used, used, "bank", frames.shape[0])


def _moments(frames: Tensor, mean: float | Tensor, std: float | Tensor) -> tuple[float, float, Tensor | None]:
    """Numbers as they are; where there is a tensor, both as one on the device, without waiting for it."""
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        return float(mean), float(std), None
    dtype = accumulation_dtype(frames)
    pair = [
        value.to(frames.device, dtype)
        if isinstance(value, Tensor)
        else torch.full((), value, dtype=dtype, device=frames.device)
        for value in (mean, std)
    ]
    return 0.0, 1.0, torch.stack(pair)
