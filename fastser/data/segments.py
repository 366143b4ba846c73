"""The segments of a corpus: log-spectrograms as one packed tensor on the device, and windows on it (paper 4.2)."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from fastser_kernels import gather_mixup, gather_segments
from torch import Tensor

from fastser.data.audio import change_speed
from fastser.data.cached_arrays import CachedArray
from fastser.data.features import FeatureExtractor, in_blocks, num_frames, segment_table
from fastser.data.normalisation import Normalisation
from fastser.data.packed_audio import PackedWaveforms
from fastser.data.standardisation import Moments, groups_of
from fastser.runtime.digests import digest
from fastser.settings import SpectrogramSettings

_FORMAT = 3
_RECORDINGS_PER_CHUNK = 32
_FRAMES_PER_BLOCK = 1024
"""Frames computed together. The segment width is not used here, so that the cached frames do not depend on it."""


@dataclass(frozen=True)
class SegmentBank:
    """All segments of a corpus, at one or more speeds, as windows on one tensor of frames.

    A recording is one utterance at one speed. Recording r is utterance `r % num_utterances` at speed
    `speeds[r // num_utterances]`.

    Attributes:
        frames: Packed log-spectrograms, float32 [frames, bins]. They are in decibels, or standardised by `moments`.
        start: First frame of each segment in `frames`, int64 [segments].
        length: Its number of frames before padding, int64 [segments].
        recording: Its recording, int64 [segments].
        sums: Number, sum and sum of squares of each recording's values, float64 [recordings, 3], on the CPU.
        num_utterances: Number of utterances in the corpus.
        speeds: Speed factors, the original 1.0 first.
        segment_frames: Frames of a segment after padding.
        moments: Moments by which the frames of each recording were standardised, or None.
    """

    frames: Tensor
    start: Tensor
    length: Tensor
    recording: Tensor
    sums: Tensor
    num_utterances: int
    speeds: tuple[float, ...]
    segment_frames: int
    moments: Moments | None = None

    @property
    def utterance(self) -> Tensor:
        """Return the utterance of each segment, int64 [segments]."""
        return self.recording % self.num_utterances

    def segments(self, utterances: Sequence[int], *, all_speeds: bool = False) -> Tensor:
        """Return the indices of the segments of some utterances, int64 [n], in corpus order.

        Args:
            utterances: Indices of utterances.
            all_speeds: Include the speed-perturbed versions.

        Raises:
            ValueError: If `all_speeds` is asked for and the bank holds the original speed only.
        """
        self._check_speeds(all_speeds)
        chosen = torch.zeros(self.num_utterances, dtype=torch.bool, device="cpu")
        chosen[torch.tensor(utterances, dtype=torch.int64, device="cpu")] = True
        mask = chosen.to(self.recording.device)[self.utterance]
        return (mask if all_speeds else mask & (self.recording < self.num_utterances)).nonzero()[:, 0]

    def normalisation(self, utterances: Sequence[int], *, all_speeds: bool = False) -> Normalisation:
        """Compute mean and standard deviation over every value of the utterances' frames (open 3).

        Raises:
            ValueError: If `all_speeds` is asked for and the bank holds the original speed only.
        """
        self._check_speeds(all_speeds)
        rows = self.sums.view(-1, self.num_utterances, 3)[:, torch.tensor(utterances, dtype=torch.int64, device="cpu")]
        count, total, squares = (rows if all_speeds else rows[:1]).sum((0, 1)).tolist()
        return Normalisation.from_sums(count, total, squares)

    def _check_speeds(self, all_speeds: bool) -> None:
        if all_speeds and len(self.speeds) == 1:
            raise ValueError("the segment bank holds no speed-perturbed versions; build it with speeds=(0.9, 1.1)")

    def gather(self, segments: Tensor, normalisation: Normalisation) -> Tensor:
        """Return normalised and padded segments, float32 [n, segment_frames, bins].

        Args:
            segments: Indices of segments, int64 [n].
            normalisation: Of the training set.
        """
        mean, std = normalisation.mean, normalisation.std
        return gather_segments(self.frames, self.start[segments], self.length[segments], mean, std, self.segment_frames)

    def gather_mixup(self, segments: Tensor, partners: Tensor, lam: Tensor, normalisation: Normalisation) -> Tensor:
        """Return `lam * gather(segments) + (1 - lam) * gather(partners)` in one pass.

        Args:
            segments: Indices of segments, int64 [n].
            partners: Indices of the segments that are mixed in, int64 [n].
            lam: Weights of `segments`, float32 [n].
            normalisation: Of the training set.

        Returns:
            Mixed segments, float32 [n, segment_frames, bins].
        """
        return gather_mixup(
            self.frames,
            self.start[segments],
            self.length[segments],
            self.start[partners],
            self.length[partners],
            lam,
            normalisation.mean,
            normalisation.std,
            self.segment_frames,
        )


def build_bank(
    waveforms: PackedWaveforms,
    settings: SpectrogramSettings,
    sample_rate: int,
    *,
    speeds: Sequence[float] = (),
    speakers: Sequence[str] = (),
    device: torch.device | str = "cpu",
    on_spectrograms: Callable[[str], None] = lambda _: None,
) -> SegmentBank:
    """Compute the log-spectrograms of a corpus, or read them from the cache.

    Args:
        waveforms: The decoded corpus.
        settings: Spectrogram settings.
        sample_rate: Of the waveforms, in hertz.
        speeds: Speed factors of the perturbed versions, besides the original.
        speakers: Speaker of each utterance, needed where the settings standardise by speaker.
        device: Device of the bank. On the CPU the frames are memory-mapped.
        on_spectrograms: Called with a text before the spectrograms of some recordings are computed.
    """
    shape_free = settings.model_dump(exclude={"segment_frames", "segment_hop", "last_segment", "normalisation"})
    key = digest("frames", _FORMAT, waveforms.key, sample_rate, shape_free, list(speeds))
    array = CachedArray.named(f"frames-{key}")
    index = array.load()
    if index is None:
        counts: list[int] = []
        of_recordings: list[list[float]] = []
        with array.writing() as writer:
            for frames, chunk_counts in _spectrograms(waveforms, settings, sample_rate, speeds, on_spectrograms):
                writer.append(frames.numpy())
                counts += chunk_counts.tolist()
                of_recordings += _sums(frames.numpy(), chunk_counts).tolist()
        index = {"frames": counts, "sums": of_recordings}
        array.save_index(index, writer)
    counts_array = np.asarray(index["frames"], np.int64)
    packed = array.map().reshape(-1, settings.num_bins)
    sums = torch.tensor(index["sums"], dtype=torch.float64, device="cpu")
    moments = _moments(sums, settings, len(waveforms.offsets) - 1, speakers)
    if moments is not None:
        packed = _cached_standardised(packed, counts_array, moments, key)
    return _bank(packed, counts_array, sums, moments, settings, speeds, device)


def bank_in_memory(
    waveforms: Sequence[npt.NDArray[np.float32]], extract: FeatureExtractor, device: torch.device | str = "cpu"
) -> SegmentBank:
    """Compute the log-spectrograms of some waveforms at their original speed, without the cache.

    Args:
        waveforms: Waveforms, float32 [samples] each, at least one window long.
        extract: Feature extractor on the CPU. Its settings cut the segments and do not standardise by speaker.
        device: Device of the bank.
    """
    settings = extract.settings
    blocks = FeatureExtractor(in_blocks(settings, _FRAMES_PER_BLOCK), extract.window, extract.filterbank)
    frames, counts = _pack_frames(waveforms, blocks)
    packed = frames.numpy()
    sums = torch.from_numpy(_sums(packed, counts))
    moments = _moments(sums, settings, len(waveforms), ())
    if moments is not None:
        packed = np.concatenate(list(_standardised(packed, counts, moments)))
    return _bank(packed, counts, sums, moments, settings, (), device)


def _bank(
    frames: npt.NDArray[np.float32],
    counts: npt.NDArray[np.int64],
    sums: Tensor,
    moments: Moments | None,
    settings: SpectrogramSettings,
    speeds: Sequence[float],
    device: torch.device | str,
) -> SegmentBank:
    """Return a bank of packed recordings.

    Args:
        frames: Frames, standardised by `moments` if there are any, [frames, bins].
        counts: Frames of each recording, int64 [recordings].
        sums: Number, sum and sum of squares of each recording's values in decibels, float64 [recordings, 3].
        moments: Moments of each recording, or None.
        settings: Spectrogram settings.
        speeds: Speed factors of the perturbed versions, besides the original.
        device: Device of the bank.
    """
    recording, first, length = segment_table(counts, settings)
    offsets = np.cumsum(counts) - counts
    return SegmentBank(
        frames=torch.from_numpy(frames).to(device),
        start=torch.from_numpy(offsets[recording] + first).to(device),
        length=torch.from_numpy(length).to(device),
        recording=torch.from_numpy(recording).to(device),
        sums=sums if moments is None else moments.applied_to_sums(sums),
        num_utterances=len(counts) // (1 + len(speeds)),
        speeds=(1.0, *speeds),
        segment_frames=settings.segment_frames,
        moments=moments,
    )


def _moments(
    sums: Tensor, settings: SpectrogramSettings, num_utterances: int, speakers: Sequence[str]
) -> Moments | None:
    """Return the moments of each recording's group, or None. Each speed has groups of its own."""
    if settings.normalisation == "speaker" and len(speakers) != num_utterances:
        raise ValueError(f"normalisation by speaker needs the speaker of each of the {num_utterances} utterances")
    groups = groups_of(speakers or [""] * num_utterances, settings)
    if groups is None:
        return None
    versions = np.arange(len(sums) // num_utterances)[:, None] * num_utterances
    return Moments.of(sums, (groups + versions).reshape(-1))


def _standardised(
    frames: npt.NDArray[np.float32], counts: npt.NDArray[np.int64], moments: Moments
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the frames of each recording [frames, bins], standardised by its moments.

    Args:
        frames: Frames in decibels, [frames, bins].
        counts: Frames of each recording, int64 [recordings].
        moments: Moments of each recording.
    """
    ends = np.cumsum(counts)
    for begin, end, mean, std in zip(ends - counts, ends, moments.mean.numpy(), moments.std.numpy(), strict=True):
        yield ((frames[begin:end] - mean) / std).astype(np.float32)


def _cached_standardised(
    frames: npt.NDArray[np.float32], counts: npt.NDArray[np.int64], moments: Moments, key: str
) -> npt.NDArray[np.float32]:
    """Return the frames of `_standardised` from the cache. `key` is the key of the frames in decibels."""
    array = CachedArray.named(f"standardised-{digest(key, moments.mean.tolist(), moments.std.tolist())}")
    if array.load() is None:
        with array.writing() as writer:
            for recording in _standardised(frames, counts, moments):
                writer.append(recording)
        array.save_index({}, writer)
    return array.map().reshape(frames.shape)


def _spectrograms(
    waveforms: PackedWaveforms,
    settings: SpectrogramSettings,
    sample_rate: int,
    speeds: Sequence[float],
    on_spectrograms: Callable[[str], None],
) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
    """Yield packed frames [frames, bins] and the frames of each recording, a chunk of recordings at a time."""
    extract = FeatureExtractor.create(in_blocks(settings, _FRAMES_PER_BLOCK), sample_rate)
    recordings = range(len(waveforms.offsets) - 1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for speed in (1.0, *speeds):
            for first in range(0, len(recordings), _RECORDINGS_PER_CHUNK):
                on_spectrograms(f"{first} of {len(recordings)} at speed {speed:g}")
                chunk = [waveforms[i] for i in recordings[first : first + _RECORDINGS_PER_CHUNK]]
                if speed != 1.0:
                    chunk = list(pool.map(lambda signal, factor=speed: change_speed(signal, factor), chunk))
                yield _pack_frames(chunk, extract)


def _sums(frames: npt.NDArray[np.float32], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return number, sum and sum of squares of the values of each recording, [recordings, 3]."""
    values = frames.astype(np.float64)
    first = np.cumsum(counts) - counts
    total = np.add.reduceat(values.sum(axis=1), first)
    squares = np.add.reduceat(np.einsum("fb,fb->f", values, values), first)
    return np.stack([counts * frames.shape[1], total, squares], axis=1)


def _pack_frames(
    signals: Sequence[npt.NDArray[np.float32]], extract: FeatureExtractor
) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Return the frames of some waveforms end to end, [frames, bins], and the number of frames of each.

    Each waveform begins at a multiple of the hop. So the frames of all of them lie on one grid, and are computed in
    blocks of one size. The few frames that reach from one waveform into the next are left out of the result.
    """
    settings = extract.settings
    counts = num_frames(np.array([len(signal) for signal in signals]), settings)
    places = counts + -(-settings.win_length // settings.hop_length) - 1
    first = np.cumsum(places) - places
    grid = np.zeros(int(places.sum()) * settings.hop_length + settings.win_length, np.float32)
    for place, count, signal in zip(first.tolist(), counts.tolist(), signals, strict=True):
        begin = place * settings.hop_length
        used = signal[: (count - 1) * settings.hop_length + settings.win_length]
        grid[begin : begin + len(used)] = used
    _, block, length = segment_table(np.array([first[-1] + counts[-1]]), settings)
    frames = extract(torch.from_numpy(grid), torch.from_numpy(block * settings.hop_length), torch.from_numpy(length))
    kept = torch.from_numpy(np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts))
    return frames.flatten(0, 1)[kept], counts
