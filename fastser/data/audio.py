"""Conversion of audio files to waveforms: decoding, averaging of channels, resampling, change of speed."""

import errno
import io
import os
import stat
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from fastser.data.audio_headers import ContainerError, check, flac_checksum, samples_checksum, streamed_data

Waveform = npt.NDArray[np.float32]

_VALUES_PER_READ = 1 << 20
"""Values that are decoded at a time. It bounds the memory that a header with a wrong length can allocate."""

_FORMATS = ("WAV", "WAVEX", "AIFF", "FLAC", "OGG", "MP3")
"""Names in libsndfile of the formats whose lengths and sample rates are reliable or can be checked."""

_RATES = range(1_000, 768_001)
"""Plausible sample rates of a recording, in hertz."""

_LOUDEST = 16.0
"""Largest plausible absolute sample. Greater ones are damaged floats, or integers that nobody scaled to 1."""

_UNKNOWN_FRAMES = 2**63 - 1
"""Number of frames that libsndfile reports for a FLAC stream whose header leaves the length open."""


class AudioError(ValueError):
    """An unusable audio file. The message is one sentence that starts with the path of the file."""


def decode(path: Path, sample_rate: int) -> Waveform:
    """Decode a file to mono at `sample_rate`, and keep the level of the recording.

    Channels are averaged. A file of another sample rate is resampled by soxr with the quality "VHQ".

    Args:
        path: WAV, FLAC, Ogg Vorbis, MP3 or AIFF file. The content decides, not the suffix.
        sample_rate: Sample rate of the result in hertz.

    Returns:
        Waveform, float32 [samples], full scale is 1.

    Raises:
        AudioError: If the file is not audio, is a git-lfs pointer, is empty, truncated or damaged, holds NaN or
            infinite samples or ones far above full scale, or is digital silence. Also if its header contradicts itself.
    """
    with _open(path) as sound:
        frames = _read(path, sound)
        rate = sound.samplerate
    _check_samples(path, frames)
    waveform: Waveform = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1)
    if not waveform.any():
        raise AudioError(f"{path}: is digital silence, every sample is zero")
    resampled = waveform if rate == sample_rate else soxr.resample(waveform, rate, sample_rate, quality="VHQ")
    if len(resampled) == 0:
        raise AudioError(f"{path}: is too short, {len(waveform)} samples at {rate} Hz")
    return resampled


def decode_all(paths: Sequence[Path], sample_rate: int, threads: int | None = None) -> Iterator[Waveform | AudioError]:
    """Decode files in parallel, in order, and a bounded number of them ahead of the caller.

    Args:
        paths: Audio files that `decode` reads.
        sample_rate: Sample rate of the results in hertz.
        threads: Number of threads, by default one per core.

    Yields:
        For each path, its waveform, float32 [samples], or the error that `decode` raised.
    """
    threads = threads or os.cpu_count() or 1
    waiting = iter(paths)
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(_decode_or_error, path, sample_rate) for path in islice(waiting, 2 * threads))
        while ahead:
            decoded = ahead.popleft().result()
            ahead.extend(pool.submit(_decode_or_error, path, sample_rate) for path in islice(waiting, 1))
            yield decoded


def change_speed(waveform: Waveform, factor: float) -> Waveform:
    """Change the speed of a waveform by a factor, as SoX `speed` does: duration and pitch change together.

    Args:
        waveform: Waveform, float32 [samples].
        factor: Speed relative to the original. A factor above 1 makes the waveform shorter and its pitch higher.

    Returns:
        Waveform, float32 [round(samples / factor)].

    Raises:
        ValueError: If `factor` is not above zero.

    Source: Latif et al. 2020, section 4.3.
    """
    if not factor > 0:
        raise ValueError(f"factor: must be above 0, got {factor}")
    faster: Waveform = soxr.resample(waveform, factor, 1.0, quality="VHQ")
    return faster[: round(len(waveform) / factor)]


def _decode_or_error(path: Path, sample_rate: int) -> Waveform | AudioError:
    try:
        return decode(path, sample_rate)
    except AudioError as error:
        return error


def open_file(path: Path) -> io.BufferedReader:
    """Open a file for reading.

    Raises:
        OSError: If the file cannot be opened, or if it is a pipe or a device, which might never end.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "Is a pipe or a device", str(path))
    return path.open("rb")


def _open(path: Path) -> sf.SoundFile:
    try:
        with open_file(path) as stream:
            source = _whole_source(path, stream)
        sound = sf.SoundFile(source)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
    except ContainerError as error:
        raise AudioError(f"{path}: {error}") from None
    except sf.LibsndfileError as error:
        raise AudioError(f"{path}: is not audio, or its header is damaged ({error.error_string})") from None
    if sound.format not in _FORMATS:
        raise AudioError(f"{path}: is {sound.format} audio; convert it to WAV or FLAC")
    if sound.frames == 0:
        raise AudioError(f"{path}: holds no samples")
    if sound.frames == _UNKNOWN_FRAMES:
        raise AudioError(f"{path}: its header does not declare its length; encode it again into a file")
    if sound.samplerate not in _RATES:
        raise AudioError(f"{path}: its header is damaged, it declares {sound.samplerate} Hz")
    return sound


def _whole_source(path: Path, stream: BinaryIO) -> Path | io.BytesIO:
    """Check the contents that libsndfile accepts unchecked, and return the source that libsndfile shall open."""
    head = stream.read(64)
    if not head:
        raise AudioError(f"{path}: is an empty file")
    if head.startswith(b"version https://git-lfs"):
        raise AudioError(f"{path}: is a git-lfs pointer, not audio; run `git lfs pull` where it came from")
    stream.seek(0)
    check(stream)
    if (start := streamed_data(stream)) is None:
        return path
    stream.seek(0)
    return _with_data_length(stream.read(), start)


def _read(path: Path, sound: sf.SoundFile) -> npt.NDArray[np.float32]:
    """Return all frames, float32 [samples, channels]."""
    blocks = []
    try:
        while len(block := sound.read(max(_VALUES_PER_READ // sound.channels, 1), dtype="float32", always_2d=True)):
            blocks.append(block)
    except sf.LibsndfileError as error:
        raise AudioError(f"{path}: is truncated or damaged ({error.error_string})") from None
    found = sum(map(len, blocks))
    if found < sound.frames:
        raise AudioError(f"{path}: is truncated, it has {found} of {sound.frames} samples")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _check_samples(path: Path, frames: npt.NDArray[np.float32]) -> None:
    if not np.isfinite(frames).all():
        raise AudioError(f"{path}: holds NaN or infinite samples")
    if (loudest := np.abs(frames).max()) > _LOUDEST:
        raise AudioError(f"{path}: holds samples of up to {loudest:.3g}, full scale is 1")
    with open_file(path) as stream:
        checksum = flac_checksum(stream)
    if checksum and samples_checksum(frames, checksum[1]) != checksum[0]:
        raise AudioError(f"{path}: is damaged, the checksum of its samples differs")


def _with_data_length(content: bytes, start: int) -> io.BytesIO:
    """Return a WAV file with its length filled in, because libsndfile reads no samples if the length is zero."""
    return io.BytesIO(content[: start - 4] + struct.pack("<I", len(content) - start) + content[start:])
