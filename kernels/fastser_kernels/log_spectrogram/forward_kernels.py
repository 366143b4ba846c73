"""Triton kernels of the log-spectrogram: a DFT as a matrix product whose left side is never in memory.

With c = (win - 1) / 2, a bin's power does not change when its phase is counted from c. Then cosines are even and sines
odd about c, so that both products run over pairs of samples, n < ceil(win / 2) and m = win - 1 - n:

    re[f] = sum_n (w[n] v[n] + w[m] v[m]) cos(2 pi f (n - c) / n_fft)
    im[f] = sum_n (w[n] v[n] - w[m] v[m]) sin(2 pi f (n - c) / n_fft)

The cosines and sines depend on sizes alone and are kept; the window is applied to the samples as they are read. One
launch: each program computes a tile of frames by bins, or by filterbank bands, from samples to normalised decibels.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import dot, fp32_precision, launch

LINEAR = {"TM": 64, "TF": 64, "TK": 16, "num_warps": 4, "num_stages": 1}
"""Frames, DFT bins, and pairs of samples that are multiplied at a time."""
BANDS = {"TM": 64, "TF": 32, "TK": 16, "num_warps": 4, "num_stages": 1}
"""The same with a filterbank, whose bands are held beside the bins."""
MAX_BANDS = 128
"""Filterbank bands of a tile at most."""


@triton.jit
def tile_of_frames(
    wave_ptr, start_ptr, frames_ptr, noise_ptr, noise_start_ptr, gain_ptr, wave_size, noise_size, hop, win,
    segment_frames, TM: tl.constexpr,
):  # fmt: skip
    """A tile's segment, first frame, number of frames that are not padding, and (waveform[, noise, its gain])."""
    tiles = tl.cdiv(segment_frames, TM)
    segment, first = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles * TM
    live = tl.maximum(tl.minimum(tl.load(frames_ptr + segment), segment_frames), 0).to(tl.int32) - first
    reach = (TM - 1) * hop + win
    wave = _place(wave_ptr, wave_size, start_ptr, segment, first, hop, reach)
    sounds = (
        (wave,)
        if noise_ptr is None
        else (
            wave,
            _place(noise_ptr, noise_size, noise_start_ptr, segment, first, hop, reach),
            tl.load(gain_ptr + segment).to(tl.float32),
        )
    )
    return segment, first, live, sounds


@triton.jit
def _place(signal_ptr, size, start_ptr, segment, first, hop, reach):
    """Pointer, size, first sample of a tile of frames (maybe outside), and samples that it reaches."""
    return signal_ptr, size, tl.load(start_ptr + segment) + first.to(tl.int64) * hop, reach


@triton.jit
def _read(signal, offset, inside):
    """Samples at `offset` from a tile's first, in fp32; places outside the signal are clamped."""
    ptr, size, begin, reach = signal
    begin = tl.minimum(tl.maximum(begin, -reach), size - 1)
    low = tl.maximum(-begin, 0).to(tl.int32)
    high = tl.minimum(size - 1 - begin, reach).to(tl.int32)
    offset = tl.minimum(tl.maximum(offset, low), high)
    return tl.load(ptr + begin + offset, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _windowed(sounds, window_ptr, n, kept, rows, hop):
    """Windowed samples `n` of each frame, fp32 [frames, samples]; 0 where not `kept`."""
    offset = rows[:, None] * hop + n[None, :]
    value = _read(sounds[0], offset, kept[None, :])
    if len(sounds) > 1:
        value += sounds[2] * _read(sounds[1], offset, kept[None, :])
    return value * tl.load(window_ptr + n, mask=kept, other=0.0).to(tl.float32)[None, :]


@triton.jit
def spectrum(
    sounds, window_ptr, basis_ptr, f, stride, live, hop, win,
    TM: tl.constexpr, TF: tl.constexpr, TK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Re and im of bins `f`, fp32 [TM, TF] each. The basis is [2, pairs, stride], padded to whole tiles with zeros."""
    rows = tl.arange(0, TM)
    re = tl.zeros((TM, TF), tl.float32)
    im = tl.zeros((TM, TF), tl.float32)
    pairs = tl.cdiv((win + 1) // 2, TK) * TK
    for k in tl.range(0, tl.where(live > 0, pairs, 0), TK):
        left = k + tl.arange(0, TK)
        right = win - 1 - left
        a = _windowed(sounds, window_ptr, left, left <= right, rows, hop)
        b = _windowed(sounds, window_ptr, right, left < right, rows, hop)
        at = basis_ptr + left[:, None] * stride + f[None, :]
        re = dot(a + b, tl.load(at), re, PRECISION)
        im = dot(a - b, tl.load(at + pairs * stride), im, PRECISION)
    return re, im


@triton.jit(do_not_specialize=("wave_size", "noise_size"))
def level_kernel(
    wave_ptr, start_ptr, frames_ptr, window_ptr, filterbank_ptr, noise_ptr, noise_start_ptr, gain_ptr, basis_ptr,
    grad_ptr, out_ptr, wave_size, noise_size, hop, win, segment_frames, columns, dft_bins, bin_tiles, power_floor,
    scale, shift,
    TM: tl.constexpr, TF: tl.constexpr, TC: tl.constexpr, TK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """`log2(level + power_floor) * scale + shift`; where there is `grad`, `grad / (level + power_floor) * scale`."""
    segment, first, live, sounds = tile_of_frames(
        wave_ptr, start_ptr, frames_ptr, noise_ptr, noise_start_ptr, gain_ptr, wave_size, noise_size, hop, win,
        segment_frames, TM,
    )  # fmt: skip
    column = tl.program_id(1) * TC + tl.arange(0, TC)
    if filterbank_ptr is None:
        re, im = spectrum(sounds, window_ptr, basis_ptr, column, bin_tiles * TF, live, hop, win, TM, TF, TK, PRECISION)
        level = re * re + im * im
    else:
        level = tl.zeros((TM, TC), tl.float32)
        for tile in tl.range(0, bin_tiles):
            f = tile * TF + tl.arange(0, TF)
            re, im = spectrum(sounds, window_ptr, basis_ptr, f, bin_tiles * TF, live, hop, win, TM, TF, TK, PRECISION)
            inside = (f < dft_bins)[:, None] & (column < columns)[None, :]
            weights = tl.load(filterbank_ptr + f[:, None] * columns + column[None, :], mask=inside, other=0.0)
            level = dot(re * re + im * im, weights.to(tl.float32), level, PRECISION)
    rows = tl.arange(0, TM)
    at = (segment * segment_frames + first + rows)[:, None] * columns + column[None, :]
    inside = (first + rows < segment_frames)[:, None] & (column < columns)[None, :]
    if grad_ptr is None:
        value = tl.log2(level + power_floor) * scale + shift
    else:
        value = tl.load(grad_ptr + at, mask=inside, other=0.0) / (level + power_floor) * scale
    tl.store(out_ptr + at, tl.where((rows < live)[:, None], value, 0.0), mask=inside)


@dataclass(frozen=True)
class Spectra:
    """Arguments of the operation that the kernels which compute spectra share."""

    waveforms: Tensor
    start: Tensor
    num_frames: Tensor
    window: Tensor
    filterbank: Tensor | None
    noise: Tensor | None
    noise_start: Tensor | None
    noise_gain: Tensor | None
    hop_length: int
    n_fft: int
    num_bins: int
    segment_frames: int
    power_floor: float

    @property
    def tile(self) -> dict[str, int]:
        """Configuration of the kernels."""
        return LINEAR if self.filterbank is None else BANDS

    @property
    def dft_bins(self) -> int:
        """DFT bins that are computed."""
        return self.num_bins if self.filterbank is None else self.n_fft // 2 + 1

    @property
    def basis(self) -> Tensor:
        """Cosines and sines, fp32 [2, pairs, bins], both padded to whole tiles."""
        bins = triton.cdiv(self.dft_bins, self.tile["TF"]) * self.tile["TF"]
        return basis(self.n_fft, self.window.shape[0], bins, self.window.device)

    def levels(self, grad: Tensor | None, scale: float, shift: float) -> Tensor:
        """Normalised decibels of the bins or bands; from their gradient, the gradient of the power."""
        out = self.waveforms.new_empty(self.start.shape[0], self.segment_frames, self.num_bins)
        columns = self.tile["TF"]
        if self.filterbank is not None:
            columns = min(MAX_BANDS, max(16, triton.next_power_of_2(self.num_bins)))
        self.launch(level_kernel, triton.cdiv(self.num_bins, columns), grad, out, scale, shift, TC=columns)
        return out

    def launch(self, kernel: Any, columns: int, source: Tensor | None, out: Tensor, *factors: float, TC: int) -> None:
        """Run `kernel` on every tile of frames and each of so many tiles of `columns`."""
        grid = (self.start.shape[0] * triton.cdiv(self.segment_frames, self.tile["TM"]), columns)
        window = self.window.contiguous()
        filterbank, noise, noise_start, noise_gain = (
            tensor if tensor is None else tensor.contiguous()
            for tensor in (self.filterbank, self.noise, self.noise_start, self.noise_gain)
        )
        launch(
            kernel, grid, self.waveforms, self.start.contiguous(), self.num_frames.contiguous(), window, filterbank,
            noise, noise_start, noise_gain, self.basis, source, out, self.waveforms.shape[0],
            0 if noise is None else noise.shape[0], self.hop_length, window.shape[0], self.segment_frames,
            self.num_bins, self.dft_bins, self.basis.shape[2] // self.tile["TF"], self.power_floor, *factors,
            **self.tile, TC=TC, PRECISION=fp32_precision(),
        )  # fmt: skip


@cache
def basis(n_fft: int, win_length: int, bins: int, device: torch.device) -> Tensor:
    """Cosines and sines of the pairs of samples, zero beyond the window's pairs; kept, as CUDA graphs refer to them."""
    pairs = (win_length + 1) // 2
    n = torch.arange(pairs, device="cpu").unsqueeze(1)
    turns = (2 * n - (win_length - 1)) * torch.arange(bins, device="cpu") % (2 * n_fft)
    angle = turns.double() * (math.pi / n_fft)
    padding = (0, 0, 0, -pairs % LINEAR["TK"])
    return F.pad(torch.stack([angle.cos(), angle.sin()]), padding).float().to(device)


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
    """Normalised, padded segments."""
    tensors = (waveforms, start, num_frames, window, filterbank, noise, noise_start, noise_gain)
    spectra = Spectra(*tensors, hop_length, n_fft, num_bins, segment_frames, power_floor)
    return spectra.levels(None, 10.0 * math.log10(2.0) / std, -mean / std)
