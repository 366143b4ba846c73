"""Triton kernels of the log-spectrogram: a DFT as a matrix product whose left operand is never in memory.

The power of a bin does not change if its phase is counted from c = (win - 1) / 2. Then cosines are even and sines are
odd about c, so both products run over pairs of samples, n < ceil(win / 2) and m = win - 1 - n:

    re[f] = sum_n (w[n] v[n] + w[m] v[m]) cos(2 pi f (n - c) / n_fft)
    im[f] = sum_n (w[n] v[n] - w[m] v[m]) sin(2 pi f (n - c) / n_fft)

The cosines and sines depend on sizes alone and are cached. The window is applied to the samples when they are read. In
one launch, each program computes a tile of frames by bins, or by filterbank bands, from samples to normalised decibels.
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
"""Tile without a filterbank: TM frames, TF DFT bins, and TK pairs of samples that are multiplied at a time."""
BANDS = {"TM": 64, "TF": 32, "TK": 16, "num_warps": 4, "num_stages": 1}
"""Tile with a filterbank, whose bands take registers beside the bins."""
MAX_BANDS = 128
"""Largest number of filterbank bands of a tile."""


@triton.jit
def tile_of_frames(
    wave_ptr, start_ptr, frames_ptr, noise_ptr, noise_start_ptr, gain_ptr, wave_size, noise_size, hop, win,
    segment_frames, TM: tl.constexpr,
):  # fmt: skip
    """Return the segment of a tile, its first frame, its number of real frames, and (waveform[, noise, noise gain])."""
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
def _place(signal_ptr, samples, start_ptr, segment, first, hop, reach):
    """Return pointer and samples of a signal, the first sample of a tile (maybe outside), and its number of samples."""
    return signal_ptr, samples, tl.load(start_ptr + segment) + first.to(tl.int64) * hop, reach


@triton.jit
def _read(signal, offset, inside):
    """Return the samples at `offset` from the first one of a tile, in fp32; places outside the signal are clamped."""
    ptr, samples, begin, reach = signal
    begin = tl.minimum(tl.maximum(begin, -reach), samples - 1)
    low = tl.maximum(-begin, 0).to(tl.int32)
    high = tl.minimum(samples - 1 - begin, reach).to(tl.int32)
    offset = tl.minimum(tl.maximum(offset, low), high)
    return tl.load(ptr + begin + offset, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _windowed(sounds, window_ptr, n, kept, rows, hop):
    """Return the windowed samples `n` of each frame, fp32 [frames, samples], 0 if not `kept`."""
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
    """Return re and im of bins `f`, fp32 [TM, TF] each. The basis is [2, pairs, stride], zero-padded to whole tiles."""
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
    """Write `log2(level + power_floor) * scale + shift`; or, given `grad`, `grad / (level + power_floor) * scale`."""
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
    """The arguments of the operation that all kernels with spectra share."""

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
        """Configuration of the kernels: sizes of a tile, warps and stages."""
        return LINEAR if self.filterbank is None else BANDS

    @property
    def dft_bins(self) -> int:
        """Number of computed DFT bins."""
        return self.num_bins if self.filterbank is None else self.n_fft // 2 + 1

    @property
    def basis(self) -> Tensor:
        """Cosines and sines, fp32 `[2, pairs, bins]`, padded to whole tiles along pairs and bins."""
        bins = triton.cdiv(self.dft_bins, self.tile["TF"]) * self.tile["TF"]
        return basis(self.n_fft, self.window.shape[0], bins, self.window.device)

    def levels(self, grad: Tensor | None, scale: float, shift: float) -> Tensor:
        """Return the normalised decibels of the bins or bands; or, given their gradient, the gradient of the power."""
        out = self.waveforms.new_empty(self.start.shape[0], self.segment_frames, self.num_bins)
        columns = self.tile["TF"]
        if self.filterbank is not None:
            columns = min(MAX_BANDS, max(16, triton.next_power_of_2(self.num_bins)))
        self.launch(
            level_kernel,
            triton.cdiv(self.num_bins, columns),
            grad_ptr=grad,  # [segments, segment_frames, columns]
            out_ptr=out,  # [segments, segment_frames, columns]
            scale=scale,
            shift=shift,
            TC=columns,
        )
        return out

    def launch(self, kernel: Any, column_tiles: int, *, TC: int, scale: float, **own: Any) -> None:
        """Run `kernel` on every tile of frames and `column_tiles` tiles of columns, with arguments of its `own`."""
        _, _, basis_bins = self.basis.shape
        launch(
            kernel,
            (self.start.shape[0] * triton.cdiv(self.segment_frames, self.tile["TM"]), column_tiles),
            wave_ptr=self.waveforms,  # [samples]
            start_ptr=self.start.contiguous(),  # [segments]
            frames_ptr=self.num_frames.contiguous(),  # [segments]
            window_ptr=self.window.contiguous(),  # [win]
            filterbank_ptr=_contiguous(self.filterbank),  # [dft_bins, columns]
            noise_ptr=_contiguous(self.noise),  # [noise samples]
            noise_start_ptr=_contiguous(self.noise_start),  # [segments]
            gain_ptr=_contiguous(self.noise_gain),  # [segments]
            basis_ptr=self.basis,  # [2, pairs, bin_tiles * TF]
            wave_size=self.waveforms.shape[0],  # samples
            noise_size=0 if self.noise is None else self.noise.shape[0],  # samples
            hop=self.hop_length,  # samples
            win=self.window.shape[0],  # samples
            segment_frames=self.segment_frames,
            columns=self.num_bins,
            dft_bins=self.dft_bins,
            bin_tiles=basis_bins // self.tile["TF"],
            power_floor=self.power_floor,
            scale=scale,
            **own,
            **self.tile,
            TC=TC,
            PRECISION=fp32_precision(),
        )


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


@cache
def basis(n_fft: int, win_length: int, bins: int, device: torch.device) -> Tensor:
    """Return cosines and sines `[2, pairs, bins]`, zero beyond the window; CUDA graphs need them kept alive."""
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
    """Return normalised, padded segments."""
    spectra = Spectra(
        waveforms,
        start,
        num_frames,
        window,
        filterbank,
        noise,
        noise_start,
        noise_gain,
        hop_length=hop_length,
        n_fft=n_fft,
        num_bins=num_bins,
        segment_frames=segment_frames,
        power_floor=power_floor,
    )
    return spectra.levels(None, 10.0 * math.log10(2.0) / std, -mean / std)
