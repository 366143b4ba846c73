"""Log-spectrogram segments from packed waveforms, with optional noise.

For segment s, frame t and bin f, with w the window and v = waveforms + gain_s * noise:

    V[s, t, f]   = sum_{n < win} w[n] v[start_s + t * hop + n] exp(-2 pi i f n / n_fft)
    out[s, t, f] = (10 log10(|V|^2 + power_floor) - mean) / std    where t < num_frames_s, else 0

Frames are not centred: the window starts at the frame's first sample, and the DFT pads it to `n_fft` on the right.
With a filterbank M, |V|^2 is replaced by |V|^2 @ M. All waveforms of a corpus lie end to end in one tensor; a segment
is a place in it, so neither a frame matrix of the corpus nor a second, noisy waveform is kept.
"""

import torch
from torch import Tensor

_SEGMENTS_PER_CHUNK = 16


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
        noise: Optional packed noise samples, [noise samples].
        noise_start: Where in `noise` each segment's excerpt begins, [segments] int64.
        noise_gain: Factor of the noise in each segment, [segments].

    Returns:
        [segments, segment_frames, num_bins] in the waveforms' dtype; differentiable in the waveforms.

    Raises:
        ValueError: If an argument's shape does not fit.
        IndexError: If a segment leaves the waveforms or the noise and they are on the CPU. On other devices, where
            asking would wait for the device, places are clamped.
    """
    _check_shapes(waveforms, start, num_frames, window, n_fft, num_bins)
    bins = (n_fft // 2 + 1, num_bins)
    if filterbank is None and num_bins > bins[0]:
        raise ValueError(f"num_bins must be at most n_fft // 2 + 1 = {bins[0]}, got {num_bins}")
    if filterbank is not None and filterbank.shape != bins:
        raise ValueError(f"filterbank must be {list(bins)}, got {list(filterbank.shape)}")
    num_samples = (num_frames.clamp(max=segment_frames) - 1) * hop_length + window.shape[0]
    _check_reach(waveforms, start, num_samples, "start and num_frames")
    if noise is not None:
        if noise_start is None or noise_gain is None or not noise_start.shape == noise_gain.shape == start.shape:
            raise ValueError(f"noise needs noise_start and noise_gain, both {list(start.shape)} as start")
        _check_reach(noise, noise_start, num_samples, "noise_start and num_frames")
    span = (segment_frames - 1) * hop_length + window.shape[0]
    within = torch.arange(span, device=waveforms.device)
    valid = torch.arange(segment_frames, device=waveforms.device) < num_frames[:, None]
    chunks = []
    for first in range(0, start.shape[0], _SEGMENTS_PER_CHUNK):
        part = slice(first, first + _SEGMENTS_PER_CHUNK)
        samples = _excerpt(waveforms, start[part], within)
        if noise is not None and noise_start is not None and noise_gain is not None:
            samples = samples + noise_gain[part, None] * _excerpt(noise, noise_start[part], within)
        frames = samples.unfold(1, window.shape[0], hop_length) * window
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=n_fft))
        if filterbank is None:
            power = spectrum[..., :num_bins, :].square().sum(-1)
        else:
            power = spectrum.square().sum(-1) @ filterbank
        decibels = (power + power_floor).log10() * 10.0
        chunks.append(((decibels - mean) / std).masked_fill(~valid[part, :, None], 0.0))
    return torch.cat(chunks) if chunks else waveforms.new_empty(0, segment_frames, num_bins)


def _excerpt(signal: Tensor, start: Tensor, within: Tensor) -> Tensor:
    return signal[(start[:, None] + within).clamp_(0, signal.shape[0] - 1)]


def _check_shapes(
    waveforms: Tensor, start: Tensor, num_frames: Tensor, window: Tensor, n_fft: int, num_bins: int
) -> None:
    if waveforms.dim() != 1:
        raise ValueError(f"waveforms must be [samples], packed end to end, got {list(waveforms.shape)}")
    if start.dim() != 1 or start.shape != num_frames.shape:
        raise ValueError(f"start and num_frames must be [segments], got {list(start.shape)}, {list(num_frames.shape)}")
    if window.dim() != 1 or not 0 < window.shape[0] <= n_fft:
        raise ValueError(f"window must be [1 to n_fft = {n_fft} samples], got {list(window.shape)}")
    if not num_bins > 0:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")


def _check_reach(signal: Tensor, start: Tensor, num_samples: Tensor, names: str) -> None:
    """Refuse segments that leave the signal, where asking does not wait for a device."""
    if signal.device.type != "cpu" or torch.compiler.is_compiling() or start.numel() == 0:
        return
    if int(start.min()) < 0 or int((start + num_samples).max()) > signal.shape[0]:
        raise IndexError(f"{names}: a segment leaves the {signal.shape[0]} samples")
