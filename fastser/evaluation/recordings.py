"""Spectrogram segments of test waveforms that are not those of the corpus: noisy or changed ones."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastser.data.features import FeatureExtractor, in_blocks, num_frames, segment_table
from fastser.data.normalisation import IDENTITY, Normalisation
from fastser.data.standardisation import Moments
from fastser.evaluation.inference import BATCH_SIZE


@dataclass(frozen=True)
class AddedNoise:
    """Noise that is added to recordings while their spectrograms are computed.

    Attributes:
        samples: All noise recordings, float32 [samples].
        start: First noise sample of each recording, int64 [recordings].
        gain: Gain of its noise, float32 [recordings].
    """

    samples: Tensor
    start: Tensor
    gain: Tensor


@dataclass(frozen=True)
class Recordings:
    """Some recordings on the device.

    Attributes:
        samples: Packed waveforms, float32 [samples].
        start: First sample of each recording, int64 [recordings].
        lengths: Samples of each recording, int64 [recordings], on the CPU.
        rows: Position of each recording in the test set, int64 [recordings], on the CPU.
        noise: Noise to add, or None.
    """

    samples: Tensor
    start: Tensor
    lengths: NDArray[np.int64]
    rows: NDArray[np.int64]
    noise: AddedNoise | None = None

    def each(self) -> Iterator["Recordings"]:
        """Yield the recordings one by one."""
        for i in range(len(self.lengths)):
            one, noise = slice(i, i + 1), self.noise
            added = None if noise is None else AddedNoise(noise.samples, noise.start[one], noise.gain[one])
            yield Recordings(self.samples, self.start[one], self.lengths[one], self.rows[one], added)


@dataclass(frozen=True)
class Segments:
    """A batch of segments.

    Attributes:
        values: Spectrograms, float32 [batch, segment_frames, bins]. Padded frames are zero.
        frames: Frames of each segment before padding, int64 [batch].
        rows: Position of its recording in the test set, int64 [batch].
    """

    values: Tensor
    frames: Tensor
    rows: Tensor


def segments_of(
    recordings: Recordings, extract: FeatureExtractor, normalisation: Normalisation = IDENTITY
) -> Iterator[Segments]:
    """Yield the segments of recordings in batches, in the order of the recordings.

    Args:
        recordings: The recordings.
        extract: Feature extractor. Its settings cut the segments.
        normalisation: Normalisation of the values.
    """
    settings, device = extract.settings, recordings.samples.device
    index, first, frames = segment_table(num_frames(recordings.lengths, settings), settings)
    rows = torch.from_numpy(recordings.rows[index]).to(device)
    recording, number = torch.from_numpy(index).to(device), torch.from_numpy(frames).to(device)
    offset = torch.from_numpy(first * settings.hop_length).to(device)
    start, noise = recordings.start[recording] + offset, recordings.noise
    noise_start = None if noise is None else noise.start[recording] + offset
    gain = None if noise is None else noise.gain[recording]
    for part in torch.arange(len(index), device=device).split(BATCH_SIZE):
        values = extract(
            recordings.samples,
            start[part],
            number[part],
            normalisation=normalisation,
            noise=None if noise is None else noise.samples,
            noise_start=None if noise_start is None else noise_start[part],
            noise_gain=None if gain is None else gain[part],
        )
        yield Segments(values, number[part], rows[part])


def moments_of(recordings: Iterable[Recordings], extract: FeatureExtractor, groups: NDArray[np.int64]) -> Moments:
    """Compute the moments by which the spectrograms of a test set are standardised, from all of its frames.

    Args:
        recordings: All recordings of the test set, in parts.
        extract: Feature extractor.
        groups: Group of each position in the test set, int64 [utterances].
    """
    settings = in_blocks(extract.settings, extract.settings.segment_frames)
    blocks = FeatureExtractor(settings, extract.window, extract.filterbank)
    sums = torch.zeros(len(groups), 3, dtype=torch.float64, device="cpu")
    for part in recordings:
        for segments in segments_of(part, blocks):
            values = segments.values.double()
            count = segments.frames * values.shape[2]
            of_segment = torch.stack([count.double(), values.sum((1, 2)), values.square().sum((1, 2))], 1)
            sums.index_add_(0, segments.rows.cpu(), of_segment.cpu())
    return Moments.of(sums, groups)


@dataclass(frozen=True)
class RowStandardisation:
    """Standardisation of segments by the moments of their recording, then by the training set's.

    Attributes:
        mean: Mean of each position in the test set, float32 [utterances].
        std: Standard deviation of each position, float32 [utterances].
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, moments: Moments, normalisation: Normalisation, device: torch.device) -> "RowStandardisation":
        """Combine both steps into one."""
        mean, std = moments.mean + moments.std * normalisation.mean, moments.std * normalisation.std
        return cls(mean.float().to(device), std.float().to(device))

    def __call__(self, segments: Segments) -> Tensor:
        """Return standardised segments, float32 [batch, segment_frames, bins], zero where they are padded."""
        values = (segments.values - self.mean[segments.rows, None, None]) / self.std[segments.rows, None, None]
        inside = torch.arange(values.shape[1], device=values.device) < segments.frames[:, None]
        return values * inside[:, :, None]


Parts = Callable[[], Iterable[Recordings]]
"""Function that makes the recordings of a test set, in parts. It is called twice where moments are needed first."""
