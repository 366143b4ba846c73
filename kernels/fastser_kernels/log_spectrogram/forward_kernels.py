"""Triton kernels of the log-spectrogram: a DFT as a matrix product whose left operand is never in memory.

The power of a bin does not change if its phase is counted from c = (win - 1) / 2. Then cosines are even and sines are
odd about c, so both products run over pairs of samples, n < ceil(win / 2) and m = win - 1 - n:

    re[f] = sum_n (w[n] v[n] + w[m] v[m]) cos(2 pi f (n - c) / n_fft)
    im[f] = sum_n (w[n] v[n] - w[m] v[m]) sin(2 pi f (n - c) / n_fft)

Tensor cores multiply tf32 numbers, which have 11 significant bits. So each factor is the sum of a large and a small
tf32 number, and all products but that of two small numbers are added: 22 bits. The cosines and sines depend on sizes
alone. They are split once and cached, in the order in which the kernel reads them. The window is applied to the samples
when they are read. In one launch, each program computes a tile of frames by bins, or by filterbank bands, from samples
to normalised decibels.
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

LINEAR = {"TM": 128, "TF": 64, "TK": 16, "num_warps": 8, "num_stages": 1}
"""Tile without a filterbank: TM frames, TF DFT bins, and TK pairs of samples that are multiplied at a time.

64 rows would read the basis twice as often, and 128 bins would need more than the 255 registers of a thread on sm_80.
With this tile two programs fit on a multiprocessor of sm_90, so that one computes while the other one waits for memory.
"""
BANDS = {"TM": 64, "TF": 32, "TK": 16, "num_warps": 8, "num_stages": 1}
"""Tile with a filterbank, whose bands take registers, or tensor memory on sm_100, beside the bins."""
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
    """Return the place of a tile in a signal, and the smallest and largest offset from it inside the signal."""
    begin = tl.load(start_ptr + segment) + first.to(tl.int64) * hop
    begin = tl.minimum(tl.maximum(begin, -reach), samples - 1)
    low = tl.maximum(-begin, 0).to(tl.int32)
    high = tl.minimum(samples - 1 - begin, reach).to(tl.int32)
    return signal_ptr + begin, low, high


@triton.jit
def _read(place, offset):
    """Return the samples at `offset` from the place of a tile, in fp32; offsets outside the signal are clamped."""
    ptr, low, high = place
    return tl.load(ptr + tl.minimum(tl.maximum(offset, low), high)).to(tl.float32)


@triton.jit
def _mixed(sounds, offset):
    """Return the samples of the waveform with its noise, fp32."""
    value = _read(sounds[0], offset)
    if len(sounds) > 1:
        value += sounds[2] * _read(sounds[1], offset)
    return value


@triton.jit
def parts(x):
    """Return the nearest number that tf32 holds, and the rest."""
    large = ((x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return large, x - large


@triton.jit
def add_product(total, x, large, small, PRECISION: tl.constexpr):
    """Return `total + x @ (large + small)`, with fp32 accuracy."""
    if PRECISION == "ieee":
        total = dot(x, large + small, total, PRECISION)
    else:
        x_large, x_small = parts(x)
        total = dot(x_small, large, total, "tf32")
        total = dot(x_large, small, total, "tf32")
        total = dot(x_large, large, total, "tf32")
    return total


@triton.jit
def spectrum(
    sounds, window_ptr, basis_ptr, tile, live, hop, win,
    TM: tl.constexpr, TF: tl.constexpr, TK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return re and im of a tile of bins, fp32 [TM, TF] each. `basis` is a `packed_basis`."""
    rows = tl.arange(0, TM)[:, None] * hop
    re = tl.zeros((TM, TF), tl.float32)
    im = tl.zeros((TM, TF), tl.float32)
    middle = (win - 1) // 2
    steps = middle // TK + 1
    at = basis_ptr + tile * steps * (4 * TF * TK) + tl.arange(0, TF)[None, :] * TK + tl.arange(0, TK)[:, None]
    for step in tl.range(0, tl.where(live > 0, steps, 0)):
        pair = step * TK + tl.arange(0, TK)
        left = tl.minimum(pair, middle)  # pairs beyond the middle have the weight 0, and read a sample of their frame
        right = win - 1 - left
        left_weight = tl.load(window_ptr + left, mask=pair <= middle, other=0.0).to(tl.float32)
        right_weight = tl.load(window_ptr + right, mask=pair < win - 1 - pair, other=0.0).to(tl.float32)
        a = _mixed(sounds, rows + left[None, :]) * left_weight[None, :]
        b = _mixed(sounds, rows + right[None, :]) * right_weight[None, :]
        re = add_product(re, a + b, tl.load(at), tl.load(at + TF * TK), PRECISION)
        im = add_product(im, a - b, tl.load(at + 2 * TF * TK), tl.load(at + 3 * TF * TK), PRECISION)
        at += 4 * TF * TK
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
        re, im = spectrum(sounds, window_ptr, basis_ptr, tl.program_id(1), live, hop, win, TM, TF, TK, PRECISION)
        level = re * re + im * im
    else:
        level = tl.zeros((TM, TC), tl.float32)
        for tile in tl.range(0, bin_tiles):
            re, im = spectrum(sounds, window_ptr, basis_ptr, tile, live, hop, win, TM, TF, TK, PRECISION)
            f = tile * TF + tl.arange(0, TF)
            inside = (f < dft_bins)[:, None] & (column < columns)[None, :]
            weights = tl.load(filterbank_ptr + f[:, None] * columns + column[None, :], mask=inside, other=0.0)
            large, small = parts(weights.to(tl.float32))
            level = add_product(level, re * re + im * im, large, small, PRECISION)
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
    def bin_tiles(self) -> int:
        """Number of tiles of DFT bins."""
        tiles: int = triton.cdiv(self.dft_bins, self.tile["TF"])
        return tiles

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
        TF, TK = self.tile["TF"], self.tile["TK"]
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
            basis_ptr=packed_basis(self.n_fft, self.window.shape[0], self.bin_tiles, TF, TK, self.window.device),
            wave_size=self.waveforms.shape[0],  # samples
            noise_size=0 if self.noise is None else self.noise.shape[0],  # samples
            hop=self.hop_length,  # samples
            win=self.window.shape[0],  # samples
            segment_frames=self.segment_frames,
            columns=self.num_bins,
            dft_bins=self.dft_bins,
            bin_tiles=self.bin_tiles,
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
def packed_basis(n_fft: int, win_length: int, bin_tiles: int, TF: int, TK: int, device: torch.device) -> Tensor:
    """Return large and small parts of cosines and sines, fp32 `[bin_tiles, pair_tiles, 2, 2, TF, TK]`.

    Both parts are tf32 numbers. Their sum is the float64 value to 24 bits. Pairs beyond the window are 0. The tensors
    stay alive, because CUDA graphs read them.
    """
    waves = F.pad(_waves(n_fft, win_length, bin_tiles * TF), (0, 0, 0, -((win_length + 1) // 2) % TK))
    large = _nearest_tf32(waves)
    parts = torch.stack([large, _nearest_tf32(waves - large)], dim=1)  # [2, 2, pairs, bins]
    tiles: Tensor = parts.unflatten(3, (bin_tiles, TF)).unflatten(2, (-1, TK))
    return tiles.permute(4, 2, 0, 1, 5, 3).contiguous().to(device)


@cache
def basis(n_fft: int, win_length: int, bins: int, device: torch.device) -> Tensor:
    """Return cosines and sines, fp32 `[2, pairs, bins]`."""
    return _waves(n_fft, win_length, bins).float().to(device)


def _waves(n_fft: int, win_length: int, bins: int) -> Tensor:
    """Return cosines and sines, float64 `[2, pairs, bins]`."""
    n = torch.arange((win_length + 1) // 2, device="cpu").unsqueeze(1)
    turns = (2 * n - (win_length - 1)) * torch.arange(bins, device="cpu") % (2 * n_fft)
    angle = turns.double() * (math.pi / n_fft)
    return torch.stack([angle.cos(), angle.sin()])


def _nearest_tf32(x: Tensor) -> Tensor:
    """Return the nearest numbers of 11 significant bits, in fp32."""
    return ((x.float().view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)


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
