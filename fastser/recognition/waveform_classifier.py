"""A trained model with its features, as one module from waveforms to posteriors that other software can run."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastser.data.features import FeatureExtractor
from fastser.data.level import LEVEL_DB
from fastser.recognition.build import takes_utterances
from fastser.recognition.model_file import ModelDescription
from fastser.settings import SpectrogramSettings

_SMALLEST = 1e-8
"""Lower bound of divisors, which only digital silence reaches. Recognisers refuse it, a graph cannot."""


class WaveformClassifier(nn.Module):
    """A model with everything that `Recogniser.predict` does to a recording, in operations that ONNX has.

    The short-time Fourier transform is a convolution with a windowed Fourier basis: each frame is the window, and the
    stride is the hop. Every runtime of ONNX computes convolutions. Few compute the operator STFT, and its frames are as
    long as the transform, which here is longer than the window.

    Args:
        model: Network of segments, or yardstick of whole utterances, in eval mode.
        description: Description of the model.

    Shape:
        `[batch, samples]` -> `[batch, classes]`. The waveforms of a batch have one length.
    """

    basis: Tensor
    filterbank: Tensor | None

    def __init__(self, model: nn.Module, description: ModelDescription) -> None:
        super().__init__()
        settings, audio = description.settings.spectrogram, description.settings.audio
        extract = FeatureExtractor.create(settings, audio.sample_rate)
        self.model = model
        self.settings = settings
        self.normalisation = description.normalisation
        self.equal_level = audio.level == "equal"
        self.whole_utterances = takes_utterances(description)
        self.register_buffer("basis", fourier_basis(settings, extract.window))
        self.register_buffer("filterbank", extract.filterbank)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the posteriors of waveforms at the sample rate of the model, full scale 1."""
        batch = waveform.shape[0]
        frames = self._frames(waveform)
        if self.whole_utterances:
            return F.softmax(self.model(frames), dim=1)
        segments = self._segments(frames)
        posteriors = F.softmax(self.model(segments.flatten(0, 1)), dim=1)
        return posteriors.view(batch, segments.shape[1], -1).mean(dim=1)

    def _frames(self, waveform: Tensor) -> Tensor:
        """Return normalised spectrograms, [batch, frames, bins]."""
        settings, normalisation = self.settings, self.normalisation
        padded = F.pad(waveform, (0, torch.sym_max(settings.win_length - waveform.shape[1], 0)))
        if self.equal_level:
            level = padded.square().mean(dim=1, keepdim=True).sqrt().clamp(min=_SMALLEST)
            padded = padded * (10 ** (LEVEL_DB / 20) / level)
        real, imaginary = F.conv1d(padded[:, None], self.basis, stride=settings.hop_length).chunk(2, dim=1)
        power = (real.square() + imaginary.square()).transpose(1, 2)
        if self.filterbank is not None:
            power = power @ self.filterbank
        decibels = (power + 1.0).log10() * 10.0 + 10.0 * math.log10(settings.power_floor)
        if settings.normalisation == "utterance":
            decibels = decibels - decibels.mean(dim=(1, 2), keepdim=True)
            decibels = decibels / decibels.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=_SMALLEST)
        return (decibels - normalisation.mean) / normalisation.std

    def _segments(self, frames: Tensor) -> Tensor:
        """Cut spectrograms as `fastser.data.features.segment_table` does, [batch, segments, segment_frames, bins].

        The sizes are symbols of the exported graph. Integer division of ONNX rounds towards zero, so its operands must
        not be negative.
        """
        length, hop, count = self.settings.segment_frames, self.settings.segment_hop, frames.shape[1]
        beyond_first = torch.sym_max(count - length, 0)
        if self.settings.last_segment == "dropped":
            segments = 1 + beyond_first // hop
        else:
            segments = 1 + (beyond_first + hop - 1) // hop
        first = torch.arange(segments, device=frames.device) * hop
        if self.settings.last_segment == "padded":
            padding = (segments - 1) * hop + length - count
        else:
            padding = torch.sym_max(length - count, 0)
        if self.settings.last_segment == "shifted":
            first = first.clamp(max=beyond_first)
        places = first[:, None] + torch.arange(length, device=frames.device)
        padded = F.pad(frames, (0, 0, 0, padding))
        return padded.index_select(1, places.flatten()).view(frames.shape[0], segments, length, -1)


def fourier_basis(settings: SpectrogramSettings, window: Tensor) -> Tensor:
    """Return the kernels of a convolution whose results are the real parts, then the imaginary parts of each bin.

    The squares of the results are powers in units of the power floor. An added floor of 1e-10 would not stay in the
    graph: torch's optimiser of ONNX graphs takes every addend below 1e-8 for zero.

    Args:
        settings: Spectrogram settings.
        window: Window of a frame, [win_length].

    Returns:
        Kernels, float32 [2 bins, 1, win_length], with the `num_bins` lowest bins, or all bins if a filterbank follows.
    """
    bins = settings.num_bins if settings.kind == "linear" else settings.n_fft // 2 + 1
    turns = torch.outer(torch.arange(bins), torch.arange(settings.win_length)) % settings.n_fft
    angle = turns.double() * (2 * math.pi / settings.n_fft)
    basis = torch.cat([angle.cos(), -angle.sin()]) * (window.double() / math.sqrt(settings.power_floor))
    return basis.float()[:, None]
