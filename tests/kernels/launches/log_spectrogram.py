"""Segments of both scales with and without noise, and the gradient of the waveforms without noise."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from fastser_kernels.log_spectrogram import backward_kernels, forward_kernels
from torch import Tensor

from fastser.settings import SCALES

SIZES = ("paper", "quick")
"""Scales whose models have different sizes. Those of the scale open are quick's."""


def launches(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield linear bins at paper scale and mel bands at quick scale."""
    waveforms, places = _meta(46_876 * batch + 1), _meta(batch, dtype=torch.int64)
    for scale in SIZES:
        settings = SCALES[scale]
        s = settings.spectrogram
        filterbank = _meta(s.n_fft // 2 + 1, s.num_bins) if s.kind == "log-mel" else None
        tensors = waveforms, places, places, _meta(s.win_length), filterbank
        sizes = s.hop_length, s.n_fft, s.num_bins, s.segment_frames, s.power_floor
        for sound, noise in (("clean", (None, None, None)), ("noisy", (waveforms, places, _meta(batch)))):
            yield f"{scale} {sound}", partial(forward_kernels.forward, *tensors, *noise, *sizes, -40.0, 15.0)
        grad = _meta(batch, s.segment_frames, s.num_bins)
        yield f"{scale} backward", partial(backward_kernels.backward, grad, *tensors, None, None, None, *sizes, 15.0)


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")
