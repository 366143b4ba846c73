"""Log-spectrograms from waveforms: number of frames, segment places, mel filters, feature extractor (paper 4.2)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from fastser_kernels import log_spectrogram
from torch import Tensor

from fastser.data.normalisation import IDENTITY, Normalisation
from fastser.runtime.nvtx_ranges import stage
from fastser.settings import SpectrogramSettings


def num_frames(num_samples: npt.NDArray[np.int64], settings: SpectrogramSettings) -> npt.NDArray[np.int64]:
    """Return the number of frames of waveforms with `num_samples` samples.

    A waveform that is shorter than a window counts as one window, to which it is padded.
    """
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
        int64 [segments]. The last segment of a recording is the one that reaches its end. It is padded, or begins
        earlier so that it is full, or is dropped unless it is the only one (`last_segment`, open 6).
    """
    beyond_first = frames - settings.segment_frames
    if settings.last_segment == "dropped":
        beyond_first = beyond_first - beyond_first % settings.segment_hop
    per_recording = 1 + np.maximum(-(-beyond_first // settings.segment_hop), 0)
    recording = np.repeat(np.arange(len(frames)), per_recording)
    number = np.arange(len(recording)) - np.repeat(np.cumsum(per_recording) - per_recording, per_recording)
    first = number * settings.segment_hop
    if settings.last_segment == "shifted":
        first = np.minimum(first, np.maximum(frames - settings.segment_frames, 0)[recording])
    return recording, first, np.minimum(frames[recording] - first, settings.segment_frames)


def in_blocks(settings: SpectrogramSettings, frames: int) -> SpectrogramSettings:
    """Return settings that cut recordings into blocks of frames, so that each frame is in one block."""
    blocks = {"segment_frames": frames, "segment_hop": frames, "last_segment": "padded"}
    return settings.model_copy(update=blocks)


def mel_filterbank(settings: SpectrogramSettings, sample_rate: int) -> Tensor:
    """Return triangular filters, equally spaced on the HTK mel scale from 0 Hz to half the sample rate, with peak 1.

    At 16 kHz with 128 filters and an `n_fft` of 512, one filter lies between two DFT bins and is zero. An `n_fft` of
    1024 leaves no zero filter.

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
    """Spectrogram settings with their window and filterbank on one device.

    Attributes:
        settings: Spectrogram settings.
        window: float32 [win_length].
        filterbank: float32 [n_fft // 2 + 1, num_bins], or None for linear bins.
    """

    settings: SpectrogramSettings
    window: Tensor
    filterbank: Tensor | None

    @classmethod
    def create(
        cls, settings: SpectrogramSettings, sample_rate: int, device: torch.device | str = "cpu"
    ) -> "FeatureExtractor":
        """Build the periodic Hamming window and, for log-mel, the filterbank."""
        window = torch.hamming_window(settings.win_length, dtype=torch.float64, device="cpu").to(device, torch.float32)
        filterbank = mel_filterbank(settings, sample_rate).to(device) if settings.kind == "log-mel" else None
        return cls(settings, window, filterbank)

    def __call__(
        self,
        waveforms: Tensor,
        start: Tensor,
        frames: Tensor,
        *,
        normalisation: Normalisation = IDENTITY,
        noise: Tensor | None = None,
        noise_start: Tensor | None = None,
        noise_gain: Tensor | None = None,
    ) -> Tensor:
        """Compute segments from packed waveforms.

        Arguments and result are those of `fastser_kernels.log_spectrogram`.
        """
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
                mean=normalisation.mean,
                std=normalisation.std,
                filterbank=self.filterbank,
                noise=noise,
                noise_start=noise_start,
                noise_gain=noise_gain,
            )
