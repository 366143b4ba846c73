"""Segments of 256 frames by 128 bins and of 128 frames by 64 mel bands, with and without noise, there and back."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from fastser_kernels.log_spectrogram import backward_kernels, kernels
from torch import Tensor


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """The paper's linear segments and the small scale's log-mel segments."""
    segments, win_length, hop_length, n_fft = 64, 400, 160, 512
    waveforms, places = _meta(3_000_000), _meta(segments, dtype=torch.int64)
    for kind, frames, bins in (("linear", 256, 128), ("log-mel", 128, 64)):
        filterbank = None if kind == "linear" else _meta(n_fft // 2 + 1, bins)
        tensors = (waveforms, places, places, _meta(win_length), filterbank)
        sizes = (hop_length, n_fft, bins, frames, 1e-10)
        for sound, noise in (("clean", (None, None, None)), ("noisy", (waveforms, places, _meta(segments)))):
            yield f"{kind} {sound}", partial(kernels.forward, *tensors, *noise, *sizes, -40.0, 15.0)
        grad = _meta(segments, frames, bins)
        yield f"{kind} backward", partial(backward_kernels.backward, grad, *tensors, None, None, None, *sizes, 15.0)
