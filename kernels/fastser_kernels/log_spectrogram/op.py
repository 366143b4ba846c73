"""Log-spectrogram segments from packed waveforms, with optional noise.

For segment s, frame t and bin f, with w the window and v = waveforms + gain_s * noise:

    V[s, t, f]   = sum_{n < win} w[n] v[start_s + t * hop + n] exp(-2 pi i f n / n_fft)
    out[s, t, f] = (10 log10(|V|^2 + power_floor) - mean) / std    where t < num_frames_s, else 0

Frames are not centred: the window starts at the frame's first sample, and the DFT pads it to `n_fft` on the right.
With a filterbank M, |V|^2 is replaced by |V|^2 @ M. All waveforms of a corpus lie end to end in one tensor; a segment
is a place in it, so neither a frame matrix of the corpus nor a second, noisy waveform is kept.

Backward, for the waveforms alone: the spectra are computed again, dV is pulled back through the DFT, each sample adds
up the at most ceil(win / hop) frames that contain it, and the segments are added in a fixed order.

Ideal bytes of a segment: its samples once, and its values once. See `ideal_bytes` and `ideal_flops`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastser_kernels.checks import (
    check_device,
    check_dtype,
    check_floating,
    check_inside,
    check_positive,
    check_shape,
    known_at_once,
)
from fastser_kernels.log_spectrogram import cpu, reference
from fastser_kernels.registration import has_kernel, register

_ARGUMENTS = (
    "Tensor waveforms, Tensor start, Tensor num_frames, Tensor window, Tensor? filterbank, Tensor? noise, "
    "Tensor? noise_start, Tensor? noise_gain, int hop_length, int n_fft, int num_bins, int segment_frames, "
    "float power_floor"
)


def _fake_forward(
    waveforms: Tensor,
    start: Tensor,
    num_frames: Tensor,
    window: Tensor,
    filterbank: Tensor | None,
    noise: Tensor | None,
    noise_start: Tensor | None,
    noise_gain: Tensor | None,
    hop_length: int,
    n_fft: int,
    num_bins: int,
    segment_frames: int,
    power_floor: float,
    mean: float,
    std: float,
) -> Tensor:
    return waveforms.new_empty(start.shape[0], segment_frames, num_bins)


def _fake_backward(
    grad: Tensor,
    waveforms: Tensor,
    start: Tensor,
    num_frames: Tensor,
    window: Tensor,
    filterbank: Tensor | None,
    noise: Tensor | None,
    noise_start: Tensor | None,
    noise_gain: Tensor | None,
    hop_length: int,
    n_fft: int,
    num_bins: int,
    segment_frames: int,
    power_floor: float,
    std: float,
) -> Tensor:
    return torch.empty_like(waveforms)


_forward = register(
    f"log_spectrogram({_ARGUMENTS}, float mean, float std) -> Tensor",
    cpu=cpu.forward,
    triton="log_spectrogram.forward_kernels:forward",
    fake=_fake_forward,
)
_backward = register(
    f"log_spectrogram_backward(Tensor grad, {_ARGUMENTS}, float std) -> Tensor",
    cpu=cpu.backward,
    triton="log_spectrogram.backward_kernels:backward",
    fake=_fake_backward,
)


class _LogSpectrogram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        ctx.save_for_backward(*arguments[:8])
        ctx.sizes = (*arguments[8:13], arguments[14])
        result: Tensor = _forward(*arguments)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _backward(grad, *ctx.saved_tensors, *ctx.sizes), *(None,) * 14


def ideal_bytes(segments: int, num_samples: int, values: int, itemsize: int = 4) -> int:
    """Bytes that `segments` segments of `num_samples` samples and `values` values must move."""
    return segments * (num_samples + values) * itemsize


def ideal_flops(frames: int, win_length: int, num_bins: int) -> int:
    """Multiplications and additions of a real DFT of the kept bins as a folded matrix product."""
    return 2 * frames * win_length * num_bins


def log_spectrogram(
    waveforms: Tensor,
    start: Tensor,
    num_frames: Tensor,
    window: Tensor,
    *,
    hop_length: int,
    n_fft: int,
    num_bins: int,
    segment_frames: int,
    power_floor: float,
    mean: float = 0.0,
    std: float = 1.0,
    filterbank: Tensor | None = None,
    noise: Tensor | None = None,
    noise_start: Tensor | None = None,
    noise_gain: Tensor | None = None,
) -> Tensor:
    """Compute normalised, padded log-spectrogram segments straight from packed waveforms.

    Args:
        waveforms: Samples of all utterances end to end, [samples], float32 or float64.
        start: First sample of each segment, [segments] int64.
        num_frames: Frames of each segment that lie inside its utterance, [segments] int64; later frames become 0.
            More than `segment_frames` is allowed.
        window: Analysis window, [win_length <= n_fft].
        hop_length: Samples from frame to frame.
        n_fft: DFT length.
        num_bins: Lowest DFT bins that are kept; columns of `filterbank` where one is given.
        segment_frames: Frames of a segment.
        power_floor: Added to the power before the logarithm.
        mean: Subtracted from the decibels.
        std: Divides what remains.
        filterbank: Optional [n_fft // 2 + 1, num_bins] weights of the power spectrum, for mel bands.
        noise: Optional packed noise samples, [noise samples], of any floating-point dtype.
        noise_start: Where in `noise` each segment's excerpt begins, [segments] int64.
        noise_gain: Factor of the noise in each segment, [segments].

    Returns:
        [segments, segment_frames, num_bins] in the waveforms' dtype; differentiable once, in the waveforms only.

    Raises:
        ValueError: If an argument's shape or device does not fit, or one other than `waveforms` requires a gradient.
        TypeError: If an argument's dtype does not fit.
        IndexError: If a segment leaves the waveforms or the noise, or has fewer than no frames, and they are on the
            CPU. On other devices, where asking would wait for the device, and under torch.compile, places are clamped.
    """
    _check_signal("waveforms", waveforms)
    if start.dim() != 1 or start.shape != num_frames.shape:
        raise ValueError(
            f"start and num_frames must both be [segments], got {list(start.shape)} and {list(num_frames.shape)}"
        )
    if window.dim() != 1 or not 0 < window.shape[0] <= n_fft:
        raise ValueError(f"window must be [1 to n_fft = {n_fft} samples], got {list(window.shape)}")
    check_positive(hop_length=hop_length, num_bins=num_bins, segment_frames=segment_frames)
    if filterbank is None and num_bins > n_fft // 2 + 1:
        raise ValueError(f"num_bins must be at most n_fft // 2 + 1 = {n_fft // 2 + 1}, got {num_bins}")
    if filterbank is not None:
        check_shape("filterbank", filterbank, (n_fft // 2 + 1, num_bins))
    if noise is None:
        if noise_start is not None or noise_gain is not None:
            raise ValueError("noise_start and noise_gain need noise, got None")
    elif noise_start is None or noise_gain is None or not noise_start.shape == noise_gain.shape == start.shape:
        raise ValueError(f"noise needs noise_start and noise_gain, both {list(start.shape)} as start")
    else:
        _check_signal("noise", noise)
    check_dtype("waveforms", waveforms, [torch.float32, torch.float64])
    places = {"start": start, "num_frames": num_frames, "noise_start": noise_start}
    weights = {"window": window, "filterbank": filterbank, "noise": noise, "noise_gain": noise_gain}
    _check_kinds(waveforms, places, weights)
    if known_at_once(start):
        frames = num_frames.clamp(max=segment_frames)
        length = reference.num_samples(frames, window.shape[0], hop_length)
        check_inside("start", start, frames, length, "waveforms", waveforms.shape[0], "samples")
        if noise is not None and noise_start is not None:
            check_inside("noise_start", noise_start, frames, length, "noise", noise.shape[0], "samples")
    noise = None if noise is None else noise.contiguous()
    tensors = (waveforms.contiguous(), start, num_frames, window, filterbank, noise, noise_start, noise_gain)
    sizes = (hop_length, n_fft, num_bins, segment_frames, power_floor, mean, std)
    if not has_kernel(waveforms):
        return reference.log_spectrogram(*tensors, *sizes)
    if torch.is_grad_enabled() and waveforms.requires_grad:
        result: Tensor = _LogSpectrogram.apply(*tensors, *sizes)
    else:
        result = _forward(*tensors, *sizes)
    return result


def _check_signal(name: str, signal: Tensor) -> None:
    check_shape(name, signal, ["samples"])
    if signal.shape[0] == 0:
        raise ValueError(f"{name} must hold at least one sample, got [0]")


def _check_kinds(waveforms: Tensor, places: dict[str, Tensor | None], weights: dict[str, Tensor | None]) -> None:
    """Refuse wrong dtypes and devices, and gradients that the backward pass does not compute."""
    for name, tensor in (places | weights).items():
        if tensor is None:
            continue
        check_device(name, tensor, waveforms, of="waveforms")
        if name in places:
            check_dtype(name, tensor, [torch.int64])
            continue
        check_floating(name, tensor)
        if tensor.requires_grad and torch.is_grad_enabled():
            raise ValueError(f"{name} requires a gradient, but log_spectrogram has one for waveforms only: detach it")
