"""Speech-like signals, and the frames of one waveform, for tests of spectrograms and segments."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastser.data.features import FeatureExtractor, num_frames
from fastser.settings import SpectrogramSettings

RATE = 16_000
PAPER = SpectrogramSettings()


def vowel(seconds: float, seed: int = 0) -> np.ndarray:
    """Return harmonics that fall by 12 dB per octave and swell over 60 dB, in faint noise; float64 [samples]."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    number = np.arange(1, 30)[:, None]
    voice = (np.sin(2 * np.pi * number * (120 * time + 8 * np.sin(5 * time))) / number**2).sum(axis=0)
    return 0.3 * voice * 10 ** (-1.5 + 1.5 * np.cos(9 * time)) + 1e-5 * rng.normal(size=len(time))


def frames_of(waveform: Tensor, settings: SpectrogramSettings = PAPER, **options: Any) -> Tensor:
    """Return all frames of one waveform, [frames, bins]."""
    count = int(num_frames(np.array([len(waveform)]), settings)[0])
    extract = FeatureExtractor.create(settings.model_copy(update={"segment_frames": count}), RATE)
    return extract(waveform, torch.tensor([0]), torch.tensor([count]), **options)[0]
