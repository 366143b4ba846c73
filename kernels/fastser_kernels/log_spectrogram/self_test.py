"""Calls of the log-spectrogram for its self-test: segments with noise, and a filterbank with a gradient."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from fastser_kernels.log_spectrogram.op import log_spectrogram
from fastser_kernels.trust.calls import Call, Draw, Size


def calls(size: Size, draw: Draw) -> Iterator[Call]:
    """Yield the calls. The last frames of the segments are padding."""
    samples = (size.frames - 1) * size.hop_length + size.win_length
    waveforms, noise = (draw.normal(size.images * samples) for _ in range(2))
    start = torch.arange(size.images, device=draw.device) * samples
    num_frames = torch.full_like(start, max(size.frames - 2, 1))
    window = draw.positive(size.win_length)
    gain, filterbank = draw.positive(size.images), draw.positive(size.n_fft // 2 + 1, size.bins)
    places = [start, num_frames, window]
    yield Call("with noise", partial(_with_noise, size), [waveforms, *places, noise, start.flip(0), gain])
    yield Call("with a filterbank", partial(_banded, size), [waveforms, *places, filterbank], learned=1)


def _with_noise(size: Size, waveforms: Tensor, *tensors: Tensor) -> list[Tensor]:
    start, num_frames, window, noise, noise_start, gain = tensors
    noisy = log_spectrogram(
        waveforms,
        start,
        num_frames,
        window,
        hop_length=size.hop_length,
        n_fft=size.n_fft,
        num_bins=min(size.bins, size.n_fft // 2 + 1),
        segment_frames=size.frames,
        power_floor=1e-10,
        noise=noise,
        noise_start=noise_start,
        noise_gain=gain,
    )
    return [noisy]


def _banded(size: Size, waveforms: Tensor, *tensors: Tensor) -> list[Tensor]:
    start, num_frames, window, filterbank = tensors
    decibels = log_spectrogram(
        waveforms,
        start,
        num_frames,
        window,
        hop_length=size.hop_length,
        n_fft=size.n_fft,
        num_bins=size.bins,
        segment_frames=size.frames,
        power_floor=1e-10,
        mean=-3.0,
        std=7.0,
        filterbank=filterbank,
    )
    return [decibels]
