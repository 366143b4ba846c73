"""Triton kernels of the log-spectrogram's backward pass, to the waveforms alone.

They use no atomics, so every run gives the same bits. With a filterbank, `level_kernel` of forward_kernels.py first
computes the gradient of the power of the bands. Then `pull_kernel` computes the spectra again and writes the gradients
of re and im, fp32 [segments, frames, 2, bins]. `overlap_kernel` is a matrix product with the basis, over bins and over
the at most ceil(win / hop) frames that contain a sample. It writes the gradient of each segment's samples, [segments,
hops, hop]. `scatter_kernel` adds the segments to the waveform, each sample in the order of the segments' starts. A
value that was read from a clamped place belongs to the first or last sample. So each program of `overlap_kernel` writes
two sums, which are added at the end.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import dot, fp32_precision, launch
from fastser_kernels.log_spectrogram.forward_kernels import Spectra, basis, spectrum, tile_of_frames

BAND_DEPTH = 32
"""Number of filterbank bands that are multiplied at a time."""
OVERLAP = {"TM": 64, "TN": 32, "TK": 32, "num_warps": 4, "num_stages": 2}
"""Hops (TM), samples of a hop (TN), and bins (TK) that are multiplied at a time."""
SCATTER = {"BLOCK": 1024, "num_warps": 4}
"""Number of samples of the waveform that a program sums over the segments."""


@triton.jit(do_not_specialize=("wave_size", "noise_size"))
def pull_kernel(
    wave_ptr, start_ptr, frames_ptr, window_ptr, filterbank_ptr, noise_ptr, noise_start_ptr, gain_ptr, basis_ptr,
    slope_ptr, out_ptr, wave_size, noise_size, hop, win, segment_frames, columns, dft_bins, bin_tiles, power_floor,
    scale,
    TM: tl.constexpr, TF: tl.constexpr, TC: tl.constexpr, TK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write d re and d im of one tile of bins; `slope` is the gradient of the decibels or of the bands."""
    segment, first, live, sounds = tile_of_frames(
        wave_ptr, start_ptr, frames_ptr, noise_ptr, noise_start_ptr, gain_ptr, wave_size, noise_size, hop, win,
        segment_frames, TM,
    )  # fmt: skip
    f = tl.program_id(1) * TF + tl.arange(0, TF)
    stride = bin_tiles * TF
    re, im = spectrum(sounds, window_ptr, basis_ptr, tl.program_id(1), live, hop, win, TM, TF, TK, PRECISION)
    rows = tl.arange(0, TM)
    row = segment * segment_frames + first + rows
    if filterbank_ptr is None:
        inside = (rows < live)[:, None] & (f < columns)[None, :]
        slope = tl.load(slope_ptr + row[:, None] * columns + f[None, :], mask=inside, other=0.0)
        slope = slope / (re * re + im * im + power_floor) * scale
    else:
        slope = tl.zeros((TM, TF), tl.float32)
        for c in tl.range(0, columns, TC):
            column = c + tl.arange(0, TC)
            inside = (rows < live)[:, None] & (column < columns)[None, :]
            part = tl.load(slope_ptr + row[:, None] * columns + column[None, :], mask=inside, other=0.0)
            inside = (f < dft_bins)[:, None] & (column < columns)[None, :]
            weights = tl.load(filterbank_ptr + f[:, None] * columns + column[None, :], mask=inside, other=0.0)
            slope = dot(part, tl.trans(weights.to(tl.float32)), slope, PRECISION)
    at = out_ptr + row[:, None] * (2 * stride) + f[None, :]
    inside = (rows < live)[:, None] & (f < stride)[None, :]
    tl.store(at, re * slope * 2.0, mask=inside)
    tl.store(at + stride, im * slope * 2.0, mask=inside)


@triton.jit(do_not_specialize=("wave_size",))
def overlap_kernel(
    pulled_ptr, start_ptr, frames_ptr, window_ptr, basis_ptr, span_ptr, edge_ptr, wave_size, hop, win, segment_frames,
    hops, overlaps, bin_tiles, pairs,
    TM: tl.constexpr, TN: tl.constexpr, TK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the gradient of a segment's samples, [hops, hop], and the sums over samples outside the waveforms."""
    tiles = tl.cdiv(hops, TM)
    segment, first = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles * TM
    frames = tl.maximum(tl.minimum(tl.load(frames_ptr + segment), segment_frames), 0).to(tl.int32)
    rows = tl.arange(0, TM)
    j = tl.program_id(1) * TN + tl.arange(0, TN)
    bins = bin_tiles * TK
    total = tl.zeros((TM, TN), tl.float32)
    for r in tl.range(0, tl.where(first < frames + overlaps - 1, overlaps, 0)):
        t = first + rows - r
        n = r * hop + j
        kept = (j < hop) & (n < win)
        pair = tl.minimum(n, win - 1 - n)
        weight = tl.load(window_ptr + n, mask=kept, other=0.0).to(tl.float32)
        source = pulled_ptr + (segment * segment_frames + t)[:, None] * (2 * bins)
        inside = ((t >= 0) & (t < frames))[:, None]
        for k in tl.range(0, 2 * bins, TK):
            sine = k >= bins
            f = k + tl.arange(0, TK)
            at = tl.where(sine, pairs * bins - bins, 0) + pair[:, None] * bins + f[None, :]
            wave = tl.load(basis_ptr + at, mask=kept[:, None], other=0.0)
            wave *= tl.where(sine & (n > win - 1 - n), -weight, weight)[:, None]
            pulled = tl.load(source + f[None, :], mask=inside, other=0.0)
            total = dot(pulled, tl.trans(wave), total, PRECISION)
    inside = (first + rows < hops)[:, None] & (j < hop)[None, :]
    tl.store(span_ptr + (segment * hops + first + rows)[:, None] * hop + j[None, :], total, mask=inside)
    begin = tl.load(start_ptr + segment) + first.to(tl.int64) * hop
    reach = TM * hop
    offset = rows[:, None] * hop + j[None, :]
    low = tl.minimum(tl.maximum(-begin, 0), reach).to(tl.int32)
    high = tl.minimum(tl.maximum(wave_size - begin, 0), reach).to(tl.int32)
    edge = edge_ptr + 2 * (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1))
    tl.store(edge, tl.sum(tl.where(inside & (offset < low), total, 0.0)))
    tl.store(edge + 1, tl.sum(tl.where(inside & (offset >= high), total, 0.0)))


@triton.jit(do_not_specialize=("wave_size",))
def scatter_kernel(
    span_ptr, start_ptr, order_ptr, first_ptr, last_ptr, out_ptr, wave_size, length, BLOCK: tl.constexpr
):  # fmt: skip
    """Write a block of the waveform's gradient: the sum of the segments `order[first:last]`, `length` samples each."""
    block = tl.program_id(0)
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for i in tl.range(tl.load(first_ptr + block), tl.load(last_ptr + block)):
        segment = tl.load(order_ptr + i)
        offset = place - tl.load(start_ptr + segment)
        inside = (offset >= 0) & (offset < length) & (place < wave_size)
        total += tl.load(span_ptr + segment * length + offset, mask=inside, other=0.0)
    if (block.to(tl.int64) + 1) * BLOCK <= wave_size:  # without a mask, stores are 16 bytes wide for any wave_size
        tl.store(out_ptr + place, total)
    else:
        tl.store(out_ptr + place, total, mask=place < wave_size)


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
    """Return the gradient of the waveforms, by way of the spectra and the samples of each segment."""
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
    slope, scale = grad.contiguous(), 10.0 / (math.log(10.0) * std)
    if filterbank is not None:
        slope = spectra.levels(slope, scale, 0.0)
    bins = spectra.bin_tiles * spectra.tile["TF"]
    pulled = waveforms.new_empty(start.shape[0], segment_frames, 2, bins)
    spectra.launch(
        pull_kernel,
        spectra.bin_tiles,
        slope_ptr=slope,  # [segments, segment_frames, columns]
        out_ptr=pulled,  # [segments, segment_frames, 2, bins]
        scale=scale,
        TC=BAND_DEPTH,
    )
    span, edges = _add_frames(spectra, pulled)
    start, span_samples = start.contiguous(), span.shape[1]
    order = start.sort(stable=True)
    blocks = torch.arange(0, waveforms.shape[0], SCATTER["BLOCK"], device=waveforms.device)
    first = torch.searchsorted(order.values, blocks - span_samples, right=True)
    last = torch.searchsorted(order.values, blocks + SCATTER["BLOCK"])
    result = torch.empty_like(waveforms)
    launch(
        scatter_kernel,
        tuple(blocks.shape),
        span_ptr=span,  # [segments, span_samples]
        start_ptr=start,  # [segments]
        order_ptr=order.indices,  # [segments]
        first_ptr=first,  # [blocks]
        last_ptr=last,  # [blocks]
        out_ptr=result,  # [samples]
        wave_size=waveforms.shape[0],  # samples
        length=span_samples,
        **SCATTER,
    )
    before, after = edges.unbind(-1)
    result[:1] += before.sum()
    result[-1:] += after.sum()
    return result


def _add_frames(spectra: Spectra, pulled: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of all segments' samples, and the sums per program before and after the waveforms."""
    segments, win_length, hop_length = spectra.start.shape[0], spectra.window.shape[0], spectra.hop_length
    overlaps = triton.cdiv(win_length, hop_length)
    hops = spectra.segment_frames + overlaps - 1
    grid = (segments * triton.cdiv(hops, OVERLAP["TM"]), triton.cdiv(hop_length, OVERLAP["TN"]))
    span, edges = pulled.new_empty(segments, hops * hop_length), pulled.new_empty(*grid, 2)
    waves = basis(spectra.n_fft, win_length, pulled.shape[3], pulled.device)
    _, pairs, bins = waves.shape
    launch(
        overlap_kernel,
        grid,
        pulled_ptr=pulled,  # [segments, segment_frames, 2, bins]
        start_ptr=spectra.start.contiguous(),  # [segments]
        frames_ptr=spectra.num_frames.contiguous(),  # [segments]
        window_ptr=spectra.window.contiguous(),  # [win]
        basis_ptr=waves,  # [2, pairs, bins]
        span_ptr=span,  # [segments, hops * hop]
        edge_ptr=edges,  # [programs, 2]
        wave_size=spectra.waveforms.shape[0],  # samples
        hop=hop_length,  # samples
        win=win_length,  # samples
        segment_frames=spectra.segment_frames,
        hops=hops,
        overlaps=overlaps,
        bin_tiles=bins // OVERLAP["TK"],
        pairs=pairs,
        **OVERLAP,
        PRECISION=fp32_precision(),
    )
    return span, edges
