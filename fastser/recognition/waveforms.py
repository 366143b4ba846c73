"""Waveforms of users, checked and brought to the sample rate of a model."""

from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from torch import Tensor

from fastser.data.audio import LOUDEST, decode, mean_of_channels
from fastser.data.container import ContainerError
from fastser.data.level import scaled_to_level
from fastser.evaluation.model_error import ModelError
from fastser.runtime.files import expanded
from fastser.settings import AudioSettings


def read_waveform(audio: Any, sample_rate: int | None, wanted: int) -> NDArray[np.float32]:
    """Return a recording at the sample rate of a model, float32 [samples].

    Args:
        audio: Path of an audio file, or an array or tensor of floating-point samples [samples] or [samples, channels],
            full scale 1. Channels are averaged.
        sample_rate: Sample rate of an array in hertz. A file brings its own.
        wanted: Sample rate of the result in hertz.

    Raises:
        AudioError: If the file cannot be used.
        ModelError: If the array cannot be used, or the sample rate is missing or superfluous.
    """
    if isinstance(audio, str | Path):
        if sample_rate is not None:
            raise ModelError(f"{audio}: a file brings its sample rate along; leave sample_rate out")
        return decode(expanded(Path(audio)), wanted)
    if isinstance(audio, Tensor) and audio.is_floating_point():
        audio = audio.detach().float().cpu()
    samples = np.asarray(audio)
    if sample_rate is None:
        raise ModelError(f"give sample_rate, that of the array in hertz (the model computes at {wanted} Hz)")
    if not sample_rate > 0:
        raise ModelError(f"sample_rate is {sample_rate}: expected a number of hertz above 0")
    frames = samples[:, None] if samples.ndim == 1 else samples
    if frames.ndim != 2 or samples.dtype.kind != "f" or not 0 < frames.shape[1] <= len(frames):
        raise ModelError(
            f"the array is {samples.dtype} {list(samples.shape)}: expected floating-point samples [samples] or "
            "[samples, channels], full scale 1"
        )
    if not np.isfinite(frames).all() or not 0 < np.abs(frames).max() <= LOUDEST:
        raise ModelError("the array is silent, not finite or far above full scale, which is 1")
    try:
        waveform = mean_of_channels(frames.astype(np.float32))
    except ContainerError as error:
        raise ModelError(f"the array cannot be used: {error}") from None
    if sample_rate != wanted:
        waveform = soxr.resample(waveform, sample_rate, wanted, quality="VHQ")
    if not len(waveform):
        raise ModelError(f"the array is too short: {len(samples)} samples at {sample_rate} Hz")
    return waveform


def as_in_training(waveform: NDArray[np.float32], settings: AudioSettings, win_length: int) -> NDArray[np.float32]:
    """Return a recording as corpora are prepared for training: at least one window long, and at their level."""
    padded = np.pad(waveform, (0, max(0, win_length - len(waveform))))
    return scaled_to_level(padded) if settings.level == "equal" else padded
