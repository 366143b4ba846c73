"""Log-spectrogram segments from packed waveforms, with optional noise.

For segment s, frame t and bin f, with the window w and v = waveforms + gain_s * noise:

    V[s, t, f]   = sum_{n < win} w[n] v[start_s + t * hop + n] exp(-2 pi i f n / n_fft)
    out[s, t, f] = (10 log10(|V|^2 + power_floor) - mean) / std    where t < num_frames_s, else 0

Frames are not centred: the window starts at the first sample of the frame, and the DFT pads it to `n_fft` on the right.
A filterbank M replaces |V|^2 by |V|^2 @ M. All waveforms of a corpus are packed end to end into one tensor, and a
segment is a place in it. So neither a frame matrix of the corpus nor a second, noisy waveform is stored.

Only the waveforms have a gradient. The backward pass computes the spectra again and pulls dV back through the DFT. Each
sample sums the at most ceil(win / hop) frames that contain it, and the segments are added in a fixed order.
"""

from typing import Any

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
from fastser_kernels.log_spectrogram import native, reference
from fastser_kernels.registration import has_kernel, operation
from fastser_kernels.transforms import backward_needs_aten, reference_gradients


@operation("log_spectrogram", cpu=native.forward, triton="log_spectrogram.forward_kernels:forward")
def _forward(
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
    """Return normalised, padded segments."""
    return waveforms.new_empty(start.shape[0], segment_frames, num_bins)


@operation("log_spectrogram_backward", cpu=native.backward, triton="log_spectrogram.backward_kernels:backward")
def _backward(
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
    """Return the gradient of the waveforms."""
    return torch.empty_like(waveforms)


class _LogSpectrogram(torch.autograd.Function):
    """The operation with the gradient of the waveforms."""

    @staticmethod
    def forward(
        ctx: Any,
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
        tensors = (waveforms, start, num_frames, window, filterbank, noise, noise_start, noise_gain)
        numbers = (hop_length, n_fft, num_bins, segment_frames, power_floor)
        ctx.save_for_backward(*tensors)
        ctx.numbers = (*numbers, mean, std)
        return _forward(*tensors, *numbers, mean, std)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        waveforms, *others = ctx.saved_tensors
        if backward_needs_aten(grad):

            def spectrogram(waveforms: Tensor) -> Tensor:
                return reference.log_spectrogram(waveforms, *others, *ctx.numbers)

            return *reference_gradients(spectrogram, [waveforms], [True], grad), *[None] * (
                len(ctx.needs_input_grad) - 1
            )
        start, num_frames, window, filterbank, noise, noise_start, noise_gain = others
        hop_length, n_fft, num_bins, segment_frames, power_floor, _, std = ctx.numbers
        grad_waveforms = _backward(
            grad,
            waveforms,
            start,
            num_frames,
            window,
            filterbank,
            noise,
            noise_start,
            noise_gain,
            hop_length,
            n_fft,
            num_bins,
            segment_frames,
            power_floor,
            std,
        )
        return grad_waveforms, *[None] * (len(ctx.needs_input_grad) - 1)


def ideal_bytes(segments: int, num_samples: int, values: int, itemsize: int = 4) -> int:
    """Return the bytes that the segments must move: `num_samples` samples read and `values` values written by each."""
    return segments * (num_samples + values) * itemsize


def ideal_flops(frames: int, win_length: int, num_bins: int) -> int:
    """Return the FLOPs of a real DFT of the kept bins as a folded matrix product."""
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
    """Compute normalised, padded log-spectrogram segments directly from packed waveforms.

    Args:
        waveforms: Samples of all utterances end to end, `[samples]`, float32 or float64.
        start: First sample of each segment, `[segments]` int64.
        num_frames: Number of frames of each segment inside its utterance, `[segments]` int64; later frames become 0.
            More than `segment_frames` is allowed.
        window: Analysis window, `[win_length <= n_fft]`.
        hop_length: Number of samples from one frame to the next.
        n_fft: Length of the DFT, in samples.
        num_bins: Number of kept DFT bins, from the lowest on; with a filterbank, its number of columns.
        segment_frames: Number of frames of each segment in the result.
        power_floor: Power that is added before the logarithm.
        mean: Mean that is subtracted from the decibels, in dB.
        std: Standard deviation that the decibels are divided by, in dB.
        filterbank: Optional weights of the power spectrum, `[n_fft // 2 + 1, num_bins]`, for mel bands.
        noise: Optional packed noise, `[noise samples]`, of any floating-point dtype.
        noise_start: First sample in `noise` for each segment, `[segments]` int64.
        noise_gain: Factor of the noise in each segment, `[segments]`.

    Returns:
        Segments `[segments, segment_frames, num_bins]` in the dtype of `waveforms`, differentiable with respect to the
        waveforms only.

    Raises:
        ValueError: If an argument's shape or device does not fit, or one other than `waveforms` requires a gradient.
        TypeError: If an argument's dtype does not fit.
        IndexError: If a segment leaves the waveforms or the noise, or has a negative number of frames, and the tensors
            are on the CPU. On other devices the check would wait for the device, so there, and under torch.compile,
            places are clamped.

    Example:
        >>> import torch
        >>> from fastser_kernels import log_spectrogram
        >>> waveforms, window = torch.randn(3000), torch.hamming_window(400)
        >>> start, num_frames = torch.tensor([0, 800]), torch.tensor([5, 8])
        >>> log_spectrogram(
        ...     waveforms, start, num_frames, window,
        ...     hop_length=160, n_fft=512, num_bins=128, segment_frames=8, power_floor=1e-10,
        ... ).shape
        torch.Size([2, 8, 128])
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
        samples = reference.num_samples(frames, window.shape[0], hop_length)
        check_inside("start", start, frames, samples, "waveforms", waveforms.shape[0], "samples")
        if noise is not None and noise_start is not None:
            check_inside("noise_start", noise_start, frames, samples, "noise", noise.shape[0], "samples")
    noise = None if noise is None else noise.contiguous()
    tensors = (waveforms.contiguous(), start, num_frames, window, filterbank, noise, noise_start, noise_gain)
    numbers = (hop_length, n_fft, num_bins, segment_frames, power_floor, mean, std)
    if not has_kernel("log_spectrogram", waveforms):
        return reference.log_spectrogram(*tensors, *numbers)
    if torch.is_grad_enabled() and waveforms.requires_grad:
        result: Tensor = _LogSpectrogram.apply(*tensors, *numbers)
    else:
        result = _forward(*tensors, *numbers)
    return result


def _check_signal(name: str, signal: Tensor) -> None:
    check_shape(name, signal, ["samples"])
    if signal.shape[0] == 0:
        raise ValueError(f"{name} must hold at least one sample, got [0]")


def _check_kinds(waveforms: Tensor, places: dict[str, Tensor | None], weights: dict[str, Tensor | None]) -> None:
    """Raise for wrong dtypes and devices, and for gradients that the backward pass does not compute."""
    for name, tensor in (places | weights).items():
        if tensor is None:
            continue
        check_device(name, tensor, waveforms, of="waveforms")
        if name in places:
            check_dtype(name, tensor, [torch.int64])
            continue
        check_floating(name, tensor)
        if tensor.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                f"{name} requires a gradient, but log_spectrogram has one for waveforms only: detach {name}"
            )
