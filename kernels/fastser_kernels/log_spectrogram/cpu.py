"""The log-spectrogram in ATen calls: batched real FFTs of blocks of frames that stay in cache.

Frames of the padding are not computed. One block may hold frames of several segments.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_FRAMES_PER_THREAD = 512
"""Frames of a block per thread: their spectrum is 1 MB in float32, half of which is read again."""


class _Piece(NamedTuple):
    """Consecutive frames of one segment, and their rows in a block."""

    segment: int
    first: int
    number: int
    rows: slice


@dataclass(frozen=True)
class _Frames:
    """The signals and sizes that frames are cut by."""

    waveforms: Tensor
    start: list[int]
    num_frames: list[int]
    window: Tensor
    noise: Tensor | None
    noise_start: list[int]
    noise_gain: list[float]
    hop_length: int
    padded: Tensor
    """Scratch memory `[frames of a block, n_fft]`, zero beyond the window."""

    @classmethod
    def create(
        cls,
        waveforms: Tensor,
        start: Tensor,
        num_frames: Tensor,
        window: Tensor,
        noise: Tensor | None,
        noise_start: Tensor | None,
        noise_gain: Tensor | None,
        hop_length: int,
        n_fft: int,
        segment_frames: int,
    ) -> "_Frames":
        """Read the places and counts from the tensors, and allocate the scratch memory."""
        frames: list[int] = num_frames.clamp(0, segment_frames).tolist()
        rows = min(max(sum(frames), 1), _FRAMES_PER_THREAD * torch.get_num_threads())
        padded = waveforms.new_zeros(rows, n_fft)
        mixed = ([], []) if noise_start is None or noise_gain is None else (noise_start.tolist(), noise_gain.tolist())
        return cls(waveforms, start.tolist(), frames, window.to(waveforms.dtype), noise, *mixed, hop_length, padded)

    def blocks(self) -> Iterator[list[_Piece]]:
        """Yield blocks filled with pieces of the segments."""
        block: list[_Piece] = []
        used, limit = 0, self.padded.shape[0]
        for segment, frames in enumerate(self.num_frames):
            for first in range(0, frames, limit):
                number = min(frames - first, limit)
                if used + number > limit:
                    yield block
                    block, used = [], 0
                block.append(_Piece(segment, first, number, slice(used, used + number)))
                used += number
        if block:
            yield block

    def span(self, piece: _Piece, start: list[int]) -> tuple[int, int]:
        """Return first sample and end of a piece in a signal where segment i begins at `start[i]`."""
        begin = start[piece.segment] + piece.first * self.hop_length
        return begin, begin + (piece.number - 1) * self.hop_length + self.window.shape[0]

    def spectrum(self, block: list[_Piece]) -> Tensor:
        """Return the DFT of the frames of a block, complex `[frames, n_fft // 2 + 1]`."""
        win_length = self.window.shape[0]
        for piece in block:
            samples = _excerpt(self.waveforms, *self.span(piece, self.start))
            if self.noise is not None:
                noise = _excerpt(self.noise, *self.span(piece, self.noise_start)).to(samples.dtype)
                samples = torch.add(samples, noise, alpha=self.noise_gain[piece.segment])
            frames = samples.unfold(0, win_length, self.hop_length)
            torch.mul(frames, self.window, out=self.padded[piece.rows, :win_length])
        spectrum: Tensor = torch.fft.rfft(self.padded[: block[-1].rows.stop])
        return spectrum


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
    signals = (waveforms, start, num_frames, window, noise, noise_start, noise_gain)
    frames = _Frames.create(*signals, hop_length, n_fft, segment_frames)
    kept = num_bins if filterbank is None else filterbank.shape[0]
    out = waveforms.new_empty(start.shape[0], segment_frames, num_bins)
    flat, shift = out.view(-1, num_bins), waveforms.new_tensor(-mean / std)
    for block in frames.blocks():
        parts = torch.view_as_real(frames.spectrum(block))[:, :kept]
        level = _power(parts.square_(), filterbank).add_(power_floor).log10_()
        for rows, places in _runs(block, segment_frames):
            torch.add(shift, level[rows], alpha=10.0 / std, out=flat[places])
    for segment, number in enumerate(frames.num_frames):
        if number < segment_frames:
            out[segment, number:] = 0.0
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
    signals = (waveforms, start, num_frames, window, noise, noise_start, noise_gain)
    frames = _Frames.create(*signals, hop_length, n_fft, segment_frames)
    kept = num_bins if filterbank is None else filterbank.shape[0]
    flat, result = grad.contiguous().view(-1, num_bins), torch.zeros_like(waveforms)
    for block in frames.blocks():
        spectrum = frames.spectrum(block)
        parts = torch.view_as_real(spectrum)
        level = _power(parts[:, :kept].square(), filterbank).add_(power_floor)
        slope = torch.cat([flat[places] for _, places in _runs(block, segment_frames)])
        slope = slope.mul_(10.0 / (math.log(10.0) * std)).div_(level)
        if filterbank is not None:
            slope = slope @ filterbank.to(slope.dtype).t()
        parts[:, :kept].mul_(slope.unsqueeze(2))
        parts[:, kept:] = 0.0
        for unpaired in (0, n_fft // 2) if n_fft % 2 == 0 else (0,):  # bins without a conjugate partner
            parts[:, unpaired].mul_(2.0)
        pulled = torch.fft.irfft(spectrum, n=n_fft, norm="forward")[:, : window.shape[0]].mul_(frames.window)
        for piece in block:
            _add_frames(result, pulled[piece.rows], frames.span(piece, frames.start), hop_length)
    return result


def _runs(block: list[_Piece], segment_frames: int) -> list[tuple[slice, slice]]:
    """Return the rows of a block and their places among the frames of all padded segments, in the fewest runs."""
    runs: list[tuple[slice, slice]] = []
    for piece in block:
        rows, begin = piece.rows, piece.segment * segment_frames + piece.first
        places = slice(begin, begin + piece.number)
        if runs:
            last_rows, last_places = runs[-1]
            if last_places.stop == begin:
                runs.pop()
                rows, places = slice(last_rows.start, rows.stop), slice(last_places.start, places.stop)
        runs.append((rows, places))
    return runs


def _power(squares: Tensor, filterbank: Tensor | None) -> Tensor:
    """Return the power of the bins, or of the bands of the filterbank, from squared parts `[frames, bins, 2]`."""
    power = squares[..., 0] + squares[..., 1]
    return power if filterbank is None else power @ filterbank.to(power.dtype)


def _excerpt(signal: Tensor, begin: int, end: int) -> Tensor:
    """Return the samples `begin` to `end`, a view if they lie inside the signal; otherwise places are clamped."""
    return signal[begin:end] if _inside(signal, begin, end) else signal[_clamped(signal, begin, end)]


def _add_frames(signal: Tensor, frames: Tensor, span: tuple[int, int], hop_length: int) -> None:
    """Add frames `[number, win_length]` to the samples that they were cut from."""
    begin, end = span
    inside = _inside(signal, begin, end)
    target = signal[begin:end] if inside else signal.new_zeros(end - begin)
    number, win_length = frames.shape
    for left in range(0, win_length, hop_length):
        part = frames[:, left : left + hop_length]
        width = part.shape[1]
        target[left : left + (number - 1) * hop_length + width].unfold(0, width, hop_length).add_(part)
    if not inside:
        signal.index_add_(0, _clamped(signal, begin, end), target)


def _inside(signal: Tensor, begin: int, end: int) -> bool:
    return begin >= 0 and end <= signal.shape[0]


def _clamped(signal: Tensor, begin: int, end: int) -> Tensor:
    return torch.arange(begin, end, device=signal.device).clamp_(0, signal.shape[0] - 1)
