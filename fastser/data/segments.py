"""Log-spectrograms of a corpus as one packed tensor on the device, and segments as windows on it (paper 4.2)."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from fastser_kernels import gather_mixup, gather_segments, log_spectrogram
from torch import Tensor

from fastser.data.audio import change_speed
from fastser.data.packed_audio import PackedWaveforms, cached_index
from fastser.runtime.digests import digest
from fastser.runtime.files import atomic_write, cache_dir
from fastser.runtime.nvtx_ranges import stage
from fastser.settings import SpectrogramSettings

_FORMAT = 3
_RECORDINGS_PER_CHUNK = 64
_FRAMES_PER_BLOCK = 256
"""Frames computed together; not the segment width, so that the cached frames do not depend on it."""


def num_frames(num_samples: npt.NDArray[np.int64], settings: SpectrogramSettings) -> npt.NDArray[np.int64]:
    """Frames of waveforms of `num_samples`; one shorter than a window is padded to one window."""
    return 1 + np.maximum(num_samples - settings.win_length, 0) // settings.hop_length


def segment_table(
    frames: npt.NDArray[np.int64], settings: SpectrogramSettings
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cut recordings into segments.

    Args:
        frames: Number of frames of each recording, int64 [recordings].
        settings: Segment width and hop.

    Returns:
        For each segment its recording, its first frame in the recording and its number of frames before padding, all
        int64 [segments]. The last segment of a recording is the one that reaches its end.
    """
    per_recording = 1 + np.maximum(-(-(frames - settings.segment_frames) // settings.segment_hop), 0)
    recording = np.repeat(np.arange(len(frames)), per_recording)
    number = np.arange(len(recording)) - np.repeat(np.cumsum(per_recording) - per_recording, per_recording)
    first = number * settings.segment_hop
    return recording, first, np.minimum(frames[recording] - first, settings.segment_frames)


def mel_filterbank(settings: SpectrogramSettings, sample_rate: int) -> Tensor:
    """Triangular filters, equally spaced on the HTK mel scale from 0 Hz to half the sample rate, peak 1.

    At 16 kHz with 128 filters, an `n_fft` of 512 leaves one filter between two DFT bins, and so zero; 1024 leaves none.

    Returns:
        Weights of the power spectrum, float32 [n_fft // 2 + 1, num_bins].
    """

    def mel(hertz: float) -> float:
        return 2595.0 * float(np.log10(1.0 + hertz / 700.0))

    edges = 700.0 * (10.0 ** (np.linspace(0.0, mel(sample_rate / 2), settings.num_bins + 2) / 2595.0) - 1.0)
    bins = np.linspace(0.0, sample_rate / 2, settings.n_fft // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.from_numpy(np.maximum(np.minimum(rising, falling), 0.0).astype(np.float32))


@dataclass(frozen=True)
class FeatureExtractor:
    """Spectrogram settings with the tensors that they stand for, on one device."""

    settings: SpectrogramSettings
    window: Tensor
    filterbank: Tensor | None

    @classmethod
    def create(
        cls, settings: SpectrogramSettings, sample_rate: int, device: torch.device | str = "cpu"
    ) -> "FeatureExtractor":
        """Make the Hamming window (periodic) and, for log-mel, the filterbank."""
        window = torch.hamming_window(settings.win_length, dtype=torch.float64).to(device, torch.float32)
        filterbank = mel_filterbank(settings, sample_rate).to(device) if settings.kind == "log-mel" else None
        return cls(settings, window, filterbank)

    def __call__(
        self,
        waveforms: Tensor,
        start: Tensor,
        frames: Tensor,
        *,
        mean: float = 0.0,
        std: float = 1.0,
        noise: Tensor | None = None,
        noise_start: Tensor | None = None,
        noise_gain: Tensor | None = None,
    ) -> Tensor:
        """Segments from packed waveforms; arguments and result as `fastser_kernels.log_spectrogram`."""
        with stage("log-spectrogram"):
            return log_spectrogram(
                waveforms,
                start,
                frames,
                self.window,
                hop_length=self.settings.hop_length,
                n_fft=self.settings.n_fft,
                num_bins=self.settings.num_bins,
                segment_frames=self.settings.segment_frames,
                power_floor=self.settings.power_floor,
                mean=mean,
                std=std,
                filterbank=self.filterbank,
                noise=noise,
                noise_start=noise_start,
                noise_gain=noise_gain,
            )


@dataclass(frozen=True)
class SegmentBank:
    """All segments of a corpus, at one or more speeds, as windows on one tensor of frames.

    A recording is one utterance at one speed; recording r is utterance `r % num_utterances`, and the first
    `num_utterances` recordings are the ones at the original speed.

    Attributes:
        frames: Packed log-spectrograms in decibels, float32 [frames, bins].
        start: First frame of each segment in `frames`, int64 [segments].
        length: Its number of frames before padding, int64 [segments].
        recording: Its recording, int64 [segments].
        sums: Number, sum and sum of squares of each recording's values, float64 [recordings, 3], on the CPU.
        num_utterances: Utterances of the corpus.
        segment_frames: Frames of a segment after padding.
    """

    frames: Tensor
    start: Tensor
    length: Tensor
    recording: Tensor
    sums: Tensor
    num_utterances: int
    segment_frames: int

    @property
    def utterance(self) -> Tensor:
        """Utterance of each segment, int64 [segments]."""
        return self.recording % self.num_utterances

    def segments(self, utterances: Sequence[int], *, all_speeds: bool = False) -> Tensor:
        """Indices of the segments of some utterances, int64 [n], in corpus order; at the original speed by default."""
        chosen = torch.zeros(self.num_utterances, dtype=torch.bool)
        chosen[torch.tensor(utterances, dtype=torch.int64)] = True
        mask = chosen.to(self.recording.device)[self.utterance]
        return (mask if all_speeds else mask & (self.recording < self.num_utterances)).nonzero()[:, 0]

    def statistics(self, utterances: Sequence[int], *, all_speeds: bool = False) -> tuple[float, float]:
        """Mean and standard deviation over every value of the utterances' frames (scalar normalisation, open 3)."""
        rows = self.sums.view(-1, self.num_utterances, 3)[:, torch.tensor(utterances, dtype=torch.int64)]
        count, total, squares = (rows if all_speeds else rows[:1]).sum((0, 1)).tolist()
        mean = total / count
        return mean, max(squares / count - mean * mean, 0.0) ** 0.5 or 1.0

    def gather(self, segments: Tensor, mean: float, std: float) -> Tensor:
        """Normalised, padded segments, float32 [n, segment_frames, bins]."""
        return gather_segments(self.frames, self.start[segments], self.length[segments], mean, std, self.segment_frames)

    def gather_mixup(self, segments: Tensor, partners: Tensor, lam: Tensor, mean: float, std: float) -> Tensor:
        """`lam * gather(segments) + (1 - lam) * gather(partners)` in one pass, float32 [n, segment_frames, bins]."""
        return gather_mixup(
            self.frames,
            self.start[segments],
            self.length[segments],
            self.start[partners],
            self.length[partners],
            lam,
            mean,
            std,
            self.segment_frames,
        )


def build_bank(
    waveforms: PackedWaveforms,
    settings: SpectrogramSettings,
    sample_rate: int,
    *,
    speeds: Sequence[float] = (),
    device: torch.device | str = "cpu",
) -> SegmentBank:
    """Compute the log-spectrograms of a corpus, or read them from the cache.

    Args:
        waveforms: The decoded corpus.
        settings: Spectrogram settings.
        sample_rate: Of the waveforms, in hertz.
        speeds: Factors of the speed-perturbed versions that join the original.
        device: Where the bank is to lie. On the CPU it is memory-mapped.
    """
    shape_free = settings.model_dump(exclude={"segment_frames", "segment_hop"})
    key = digest("frames", _FORMAT, waveforms.key, sample_rate, shape_free, list(speeds))
    frames_path, index_path = cache_dir() / f"frames-{key}.f32", cache_dir() / f"frames-{key}.json"
    index = cached_index(index_path, frames_path, lambda index: 4 * settings.num_bins * sum(index["frames"]))
    if index is None:
        counts: list[int] = []
        sums: list[list[float]] = []
        with atomic_write(frames_path) as part, part.open("wb") as stream:
            for frames, chunk_counts in _spectrograms(waveforms, settings, sample_rate, speeds):
                frames.numpy().tofile(stream)
                counts += chunk_counts.tolist()
                sums += _sums(frames.numpy(), chunk_counts).tolist()
        with atomic_write(index_path) as part:
            part.write_text(json.dumps({"frames": counts, "sums": sums}))
        index = json.loads(index_path.read_text())
    counts_array = np.asarray(index["frames"], np.int64)
    packed = np.memmap(frames_path, np.float32, "c").reshape(-1, settings.num_bins)
    recording, first, length = segment_table(counts_array, settings)
    offsets = np.cumsum(counts_array) - counts_array
    return SegmentBank(
        frames=torch.from_numpy(packed).to(device),
        start=torch.from_numpy(offsets[recording] + first).to(device),
        length=torch.from_numpy(length).to(device),
        recording=torch.from_numpy(recording).to(device),
        sums=torch.tensor(index["sums"], dtype=torch.float64),
        num_utterances=len(waveforms.offsets) - 1,
        segment_frames=settings.segment_frames,
    )


def _spectrograms(
    waveforms: PackedWaveforms, settings: SpectrogramSettings, sample_rate: int, speeds: Sequence[float]
) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
    """Yield packed frames [frames, bins] and the frames of each recording, a chunk of recordings at a time."""
    blocks = settings.model_copy(update={"segment_frames": _FRAMES_PER_BLOCK, "segment_hop": _FRAMES_PER_BLOCK})
    analysis = FeatureExtractor.create(blocks, sample_rate)
    recordings = range(len(waveforms.offsets) - 1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for speed in (1.0, *speeds):
            for first in range(0, len(recordings), _RECORDINGS_PER_CHUNK):
                chunk = [waveforms[i] for i in recordings[first : first + _RECORDINGS_PER_CHUNK]]
                if speed != 1.0:
                    chunk = list(pool.map(lambda signal, factor=speed: change_speed(signal, factor), chunk))
                yield _pack_frames(chunk, analysis)


def _sums(frames: npt.NDArray[np.float32], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Number, sum and sum of squares of the values of each recording, [recordings, 3]."""
    values = frames.astype(np.float64)
    first = np.cumsum(counts) - counts
    total = np.add.reduceat(values.sum(axis=1), first)
    squares = np.add.reduceat(np.einsum("fb,fb->f", values, values), first)
    return np.stack([counts * frames.shape[1], total, squares], axis=1)


def _pack_frames(
    signals: Sequence[npt.NDArray[np.float32]], analysis: FeatureExtractor
) -> tuple[Tensor, npt.NDArray[np.int64]]:
    settings = analysis.settings
    padded = [np.pad(signal, (0, max(settings.win_length - len(signal), 0))) for signal in signals]
    lengths = np.array([len(signal) for signal in padded])
    offsets = np.cumsum(lengths) - lengths
    counts = num_frames(lengths, settings)
    recording, first, length = segment_table(counts, settings)
    start = torch.from_numpy(offsets[recording] + first * settings.hop_length)
    blocks = analysis(torch.from_numpy(np.concatenate(padded)), start, torch.from_numpy(length))
    inside = torch.arange(settings.segment_frames) < torch.from_numpy(length)[:, None]
    return blocks[inside], counts
