"""The log-spectrogram in plain PyTorch: frames, torch.fft, decibels."""

import torch
from torch import Tensor

_SEGMENTS_PER_CHUNK = 16


def log_spectrogram(
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
    """Return the result of `fastser_kernels.log_spectrogram`, differentiable; arguments are those of the operation."""
    dtype, win_length = waveforms.dtype, window.shape[0]
    within = torch.arange((segment_frames - 1) * hop_length + win_length, device=waveforms.device)
    used = within < num_samples(num_frames, win_length, hop_length)[:, None]
    valid = torch.arange(segment_frames, device=waveforms.device) < num_frames[:, None]
    chunks = []
    for part in _parts(start.shape[0]):
        samples = _excerpt(waveforms, start[part], within)
        if noise is not None and noise_start is not None and noise_gain is not None:
            samples = samples + noise_gain[part, None].to(dtype) * _excerpt(noise, noise_start[part], within).to(dtype)
        frames = samples.where(used[part], 0.0).unfold(1, win_length, hop_length) * window.to(dtype)
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=n_fft))
        if filterbank is None:
            power = spectrum[..., :num_bins, :].square().sum(-1)
        else:
            power = spectrum.square().sum(-1) @ filterbank.to(dtype)
        decibels = (power + power_floor).log10() * 10.0
        chunks.append(((decibels - mean) / std).masked_fill(~valid[part, :, None], 0.0))
    # An empty batch stays part of the autograd graph.
    return torch.cat(chunks) if chunks else waveforms[:0, None, None].expand(0, segment_frames, num_bins)


def _parts(segments: int) -> list[slice]:
    """Return the segments that are computed together. An exported program takes any number, so it has no loop."""
    if torch.compiler.is_exporting():
        return [slice(None)]
    return [slice(first, first + _SEGMENTS_PER_CHUNK) for first in range(0, segments, _SEGMENTS_PER_CHUNK)]


def num_samples(num_frames: Tensor, win_length: int, hop_length: int) -> Tensor:
    """Return the number of samples that `num_frames` frames cover, in the shape of `num_frames`."""
    return torch.where(num_frames > 0, (num_frames - 1) * hop_length + win_length, 0)


def _excerpt(signal: Tensor, start: Tensor, within: Tensor) -> Tensor:
    return signal[(start[:, None] + within).clamp(0, signal.shape[0] - 1)]
