"""Facts about audio files. Each file is decoded once, and its samples are not kept."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastser.data.audio import AudioError, UnreadableError, decode_channels, read_audio, streams_of
from fastser.data.fingerprints import envelope_of

_FILES_AT_A_TIME = 64
"""Files that are decoded together, which bounds the memory."""

_FULL_SCALE = 0.999
"""Absolute sample from which on a sample counts as full scale. 16-bit files reach 32767 / 32768."""

_CLIPPED_RUN = 3
"""Neighbouring samples at full scale that make a clipped peak. A single one occurs in normalised recordings."""

QUIET_DB = -60.0
"""Level below which a recording counts as nearly silent, in dB relative to full scale."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Facts about the samples of a file.

    Attributes:
        rate: Sample rate in hertz.
        channels: Number of channels.
        samples: Number of samples of each channel.
        level_db: Root mean square of the mean of the channels in dB relative to full scale.
        peak: Largest absolute sample of a channel.
        clipped: Number of samples in clipped peaks.
        digest: SHA-256 of the mean of the channels without digital silence at the ends.
        envelope: Level in equal parts, which does not depend on level, pauses at the ends and sample rate, float32.
    """

    rate: int
    channels: int
    samples: int
    level_db: float
    peak: float
    clipped: int
    digest: bytes
    envelope: NDArray[np.float32]

    @property
    def seconds(self) -> float:
        """Return the duration in seconds."""
        return self.samples / self.rate


@dataclass(frozen=True, slots=True)
class ExaminedFile:
    """A file, and the facts about it.

    Attributes:
        path: The file.
        digest: SHA-256 of the file, or an empty text if it cannot be read.
        sound: Facts about its samples, or the reason why it is unusable.
    """

    path: Path
    digest: str
    sound: Sound | str


def examine_files(paths: Sequence[Path], on_file: Callable[[], None] = lambda: None) -> Iterator[ExaminedFile]:
    """Decode files in parallel, and yield facts about each in order.

    Args:
        paths: Audio files.
        on_file: Called after each file, for a progress display.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for begin in range(0, len(paths), _FILES_AT_A_TIME):
            for examined in pool.map(examine_file, paths[begin : begin + _FILES_AT_A_TIME]):
                on_file()
                yield examined


def examine_file(path: Path) -> ExaminedFile:
    """Decode a file and compute the facts about it."""
    try:
        content = read_audio(path)
    except UnreadableError as error:
        return ExaminedFile(path, "", error.reason)
    try:
        recording = decode_channels(path, streams_of(path, content))
    except AudioError as error:
        return ExaminedFile(path, content.digest, error.reason)
    frames, mono = recording.frames, recording.mono
    envelope = envelope_of(mono)
    assert envelope is not None, "decoding refuses digital silence"
    sound = np.flatnonzero(mono)
    trimmed = np.ascontiguousarray(mono[sound[0] : sound[-1] + 1])
    facts = Sound(
        rate=recording.rate,
        channels=frames.shape[1],
        samples=len(frames),
        level_db=float(10 * np.log10(np.mean(np.square(mono, dtype=np.float64)))),
        peak=float(np.abs(frames).max()),
        clipped=clipped_samples(frames),
        digest=hashlib.sha256(trimmed.tobytes()).digest(),
        envelope=envelope,
    )
    return ExaminedFile(path, content.digest, facts)


def clipped_samples(frames: NDArray[np.float32]) -> int:
    """Return the number of samples in runs at positive or negative full scale.

    Args:
        frames: Channels, float32 [samples, channels].
    """
    return sum(_in_runs(channel >= _FULL_SCALE) + _in_runs(channel <= -_FULL_SCALE) for channel in frames.T)


def _in_runs(full: NDArray[np.bool_]) -> int:
    """Return the number of true values in runs of at least `_CLIPPED_RUN`."""
    if not full.any():
        return 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= _CLIPPED_RUN].sum())
