"""Batches cut from a packed bank of spectrogram frames, and mixtures of two such batches.

    a[i, t] = (frames[start[i] + t] - mean) / std   for t < length[i], else 0
    mix[i]  = lam[i] * a[i] + (1 - lam[i]) * b[i]

Shapes: frames `[F_total, bins]`, start and length `[B]`, result `[B, segment_frames, bins]`. Padding is 0 after the
normalisation, so a padded frame is an average frame. Every window is read once and the result is written once, in one
launch on a GPU and in one parallel region on a CPU. Frames and lam get no gradient. Source of the mixture: Zhang et al.
2018 (mixup).
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
from fastser_kernels.gather import native, reference
from fastser_kernels.registration import accumulation_dtype, has_kernel, operation


@operation("gather_segments", cpu=native.segments, triton="gather.kernels:segments")
def _segments(
    frames: Tensor,
    start: Tensor,
    length: Tensor,
    mean: float,
    std: float,
    moments: Tensor | None,
    segment_frames: int,
) -> Tensor:
    """Return one window per segment; `moments` `[2]` on the device of `frames` replaces `mean` and `std`."""
    return frames.new_empty(start.shape[0], segment_frames, frames.shape[1])


@operation("gather_mixup", cpu=native.mixup, triton="gather.kernels:mixup")
def _mixup(
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
    """Return the mixture of two windows per segment; `moments` as for `_segments`."""
    return frames.new_empty(start_a.shape[0], segment_frames, frames.shape[1])


def ideal_bytes(batch: int, segment_frames: int, bins: int, itemsize: int, *, windows: int) -> int:
    """Return the bytes that a batch must move: its windows (1 or, for `gather_mixup`, 2) read, the result written."""
    return (windows + 1) * batch * segment_frames * bins * itemsize


def gather_segments(
    frames: Tensor, start: Tensor, length: Tensor, mean: float | Tensor, std: float | Tensor, segment_frames: int
) -> Tensor:
    """Cut normalised windows out of the bank.

    Args:
        frames: The bank `[F_total, bins]`, floating point, finite.
        start: First frame of each segment, int64 `[B]`.
        length: Number of real frames of each segment, int64 `[B]`; more than `segment_frames` is allowed.
        mean: Mean that is subtracted from every value: a number, or a 0-d tensor on the device of `frames`.
        std: Standard deviation that every value is divided by: a number, or a 0-d tensor on the device of `frames`.
        segment_frames: Number of frames of each segment in the result.

    Returns:
        `[B, segment_frames, bins]` in the dtype of `frames`.

    Raises:
        ValueError: If a shape or device is wrong, or `segment_frames` is below 1.
        TypeError: If a dtype is wrong.
        IndexError: If a segment leaves the bank and `start` is on the CPU. On other devices the check would wait for
            the device, so indices are clamped to the bank.

    Example:
        >>> import torch
        >>> from fastser_kernels import gather_segments
        >>> bank, start, length = torch.arange(12.0).view(6, 2), torch.tensor([0, 4]), torch.tensor([3, 2])
        >>> gather_segments(bank, start, length, mean=0.0, std=1.0, segment_frames=3)[:, :, 0].tolist()
        [[0.0, 2.0, 4.0], [8.0, 10.0, 0.0]]
    """
    _check_bank(frames, mean, std)
    _check_windows(frames, start, length, segment_frames)
    frames = frames.detach()
    if not has_kernel("gather", frames):
        return reference.gather_segments(frames, start, length, mean, std, segment_frames)
    return _segments(frames, start, length, *_moments(frames, mean, std), segment_frames)


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
        start_b: First frame of each segment of batch b, int64 `[B]`.
        length_b: Number of real frames of each segment of batch b, int64 `[B]`.
        lam: Weight of batch a, floating point `[B]`.
        mean: Mean that is subtracted from every value: a number, or a 0-d tensor on the device of `frames`.
        std: Standard deviation that every value is divided by: a number, or a 0-d tensor on the device of `frames`.
        segment_frames: Number of frames of each segment in the result.

    Returns:
        `[B, segment_frames, bins]` in the dtype of `frames`.

    Raises:
        ValueError: As for `gather_segments`.
        TypeError: As for `gather_segments`.
        IndexError: As for `gather_segments`.

    Example:
        >>> import torch
        >>> from fastser_kernels import gather_mixup
        >>> bank, start, length = torch.arange(12.0).view(6, 2), torch.tensor([0]), torch.tensor([3])
        >>> lam = torch.tensor([0.25])
        >>> gather_mixup(bank, start, length, start + 3, length, lam, 0.0, 1.0, segment_frames=3)[0, :, 0].tolist()
        [4.5, 6.5, 8.5]
    """
    _check_bank(frames, mean, std)
    for name, tensor in (("start_b", start_b), ("lam", lam)):
        if tensor.shape != start_a.shape:
            raise ValueError(f"{name} must be {list(start_a.shape)} as start_a, got {list(tensor.shape)}")
    _check_windows(frames, start_a, length_a, segment_frames, "_a")
    _check_windows(frames, start_b, length_b, segment_frames, "_b")
    check_floating("lam", lam)
    check_device("lam", lam, frames, of="frames")
    frames, lam = frames.detach(), lam.detach()
    if not has_kernel("gather", frames):
        return reference.gather_mixup(frames, start_a, length_a, start_b, length_b, lam, mean, std, segment_frames)
    numbers = _moments(frames, mean, std)
    return _mixup(frames, start_a, length_a, start_b, length_b, lam, *numbers, segment_frames)


def _check_bank(frames: Tensor, mean: float | Tensor, std: float | Tensor) -> None:
    check_shape("frames", frames, ["F_total", "bins"])
    if frames.shape[0] == 0:
        raise ValueError(f"frames must hold at least one frame, got {list(frames.shape)}")
    check_floating("frames", frames)
    for name, value in (("mean", mean), ("std", std)):
        if isinstance(value, Tensor) and value.dim() != 0:
            raise ValueError(f"{name} must be a number or a 0-d tensor, got {list(value.shape)}")


def _check_windows(frames: Tensor, start: Tensor, length: Tensor, segment_frames: int, suffix: str = "") -> None:
    """Check the indices named start and length with this suffix; check their range if that waits for no device."""
    check_positive(segment_frames=segment_frames)
    start_name, length_name = f"start{suffix}", f"length{suffix}"
    if start.dim() != 1 or start.shape != length.shape:
        raise ValueError(
            f"{start_name} and {length_name} must both be [B], got {list(start.shape)} and {list(length.shape)}"
        )
    for name, tensor in ((start_name, start), (length_name, length)):
        check_dtype(name, tensor, [torch.int64])
        check_device(name, tensor, frames, of="frames")
    if known_at_once(start):
        starts, lengths, last = start.tolist(), length.tolist(), frames.shape[0] - segment_frames
        if not starts or (min(starts) >= 0 <= min(lengths) and max(starts) <= last):
            return  # whatever the lengths; the check below takes longer
        used = length.clamp(max=segment_frames)
        check_inside(
            start_name, start, num_frames=used, extent=used, source="bank", available=frames.shape[0], unit="frames"
        )


def _moments(frames: Tensor, mean: float | Tensor, std: float | Tensor) -> tuple[float, float, Tensor | None]:
    """Return mean, std and None. If one of them is a tensor, return 0, 1 and both as `[2]` on the device of `frames`.

    This does not wait for the device.
    """
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
