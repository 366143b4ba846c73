"""The log-spectrogram and its backward pass in the compiled library."""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from fastser_kernels.native.calls import DTYPES, FLOAT, INPUT, INT, OUTPUT, NativeFunction, threads_for

_SIGNALS = {
    "waveforms": INPUT,
    "start": INPUT,
    "num_frames": INPUT,
    "window": INPUT,
    "roots": INPUT,
    "filterbank": INPUT,
    "noise": INPUT,
    "noise_start": INPUT,
    "noise_gain": INPUT,
    "out": OUTPUT,
    "samples": INT,
    "noise_samples": INT,
    "noise_dtype": INT,
    "segments": INT,
    "win": INT,
    "hop": INT,
    "n_fft": INT,
    "columns": INT,
    "segment_frames": INT,
    "power_floor": FLOAT,
    "scale": FLOAT,
}
"""Arguments of both functions."""

_forward = NativeFunction("log_spectrogram", **_SIGNALS, shift=FLOAT)
_backward = NativeFunction("log_spectrogram_backward", grad=INPUT, **_SIGNALS)

_FRAMES_PER_THREAD = 16
"""Frames below which a thread costs more than it saves."""


def forward(
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
    out = waveforms.new_empty(start.shape[0], segment_frames, num_bins)
    _forward(
        waveforms.dtype,
        **_tensors(waveforms, start, num_frames, window, filterbank, noise, noise_start, noise_gain, n_fft),
        out=out,
        hop=hop_length,
        columns=num_bins,
        segment_frames=segment_frames,
        power_floor=power_floor,
        scale=10.0 * math.log10(2.0) / std,
        shift=-mean / std,
        threads=threads_for(out.shape[0] * segment_frames, _FRAMES_PER_THREAD),
    )
    return out


def backward(
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
    """Return the gradient of the waveforms; spectra are computed again, overlapping segments are added in order."""
    out = torch.empty_like(waveforms)
    _backward(
        waveforms.dtype,
        grad=grad.to(waveforms.dtype).contiguous(),
        **_tensors(waveforms, start, num_frames, window, filterbank, noise, noise_start, noise_gain, n_fft),
        out=out,
        hop=hop_length,
        columns=num_bins,
        segment_frames=segment_frames,
        power_floor=power_floor,
        scale=10.0 / (math.log(10.0) * std),
        threads=threads_for(grad.shape[0] * segment_frames, _FRAMES_PER_THREAD),
    )
    return out


def _tensors(
    waveforms: Tensor,
    start: Tensor,
    num_frames: Tensor,
    window: Tensor,
    filterbank: Tensor | None,
    noise: Tensor | None,
    noise_start: Tensor | None,
    noise_gain: Tensor | None,
    n_fft: int,
) -> dict[str, Any]:
    """Return the tensors, dense and in the dtype of the waveforms, and their sizes. Noise keeps its dtype."""
    dtype = waveforms.dtype
    return {
        "waveforms": waveforms,
        "start": start.contiguous(),
        "num_frames": num_frames.contiguous(),
        "window": window.to(dtype).contiguous(),
        "roots": _roots(n_fft, dtype),
        "filterbank": None if filterbank is None else filterbank.to(dtype).contiguous(),
        "noise": noise,
        "noise_start": None if noise_start is None else noise_start.contiguous(),
        "noise_gain": None if noise_gain is None else noise_gain.to(dtype).contiguous(),
        "samples": waveforms.shape[0],
        "noise_samples": 0 if noise is None else noise.shape[0],
        "noise_dtype": 0 if noise is None else DTYPES[noise.dtype],
        "segments": start.shape[0],
        "win": window.shape[0],
        "n_fft": n_fft,
    }


@lru_cache(maxsize=8)
def _roots(n_fft: int, dtype: torch.dtype) -> Tensor:
    """Return the powers of exp(-2 pi i / n_fft) as `[n_fft, 2]`."""
    angle = torch.arange(n_fft, dtype=torch.float64, device="cpu") * (-2.0 * math.pi / n_fft)
    return torch.stack([angle.cos(), angle.sin()], dim=1).to(dtype)
