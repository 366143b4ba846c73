"""Audio files to waveforms: decode, average channels, resample, change speed. Levels are never touched."""

import io
import os
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

Waveform = npt.NDArray[np.float32]

_STREAMED_SIZE = 0x7FFFF000
"""RIFF sizes from here on (SoX 0x7FFFF000, arecord 2^31, ffmpeg 2^32 - 1) are those of writers that could not seek."""

_UNKNOWN_FRAMES = 2**63 - 1
"""What libsndfile reports for a FLAC stream whose header leaves the length open."""


class AudioError(ValueError):
    """An audio file that cannot be used: one sentence that starts with its path."""


def decode(path: Path, sample_rate: int) -> Waveform:
    """Decode a file to mono at `sample_rate`, at the level it was recorded.

    Channels are averaged; another rate is resampled by soxr at its "VHQ" setting.

    Args:
        path: WAV, FLAC, Ogg Vorbis, MP3 or AIFF, whatever its ending.
        sample_rate: In Hz.

    Returns:
        float32 [samples], full scale is 1.

    Raises:
        AudioError: If the file is not audio, is a git-lfs pointer, is empty, truncated or damaged, holds NaN or
            infinite samples, or is digital silence.
    """
    with _open(path) as sound:
        try:
            frames = sound.read(dtype="float32", always_2d=True)
        except sf.LibsndfileError as error:
            raise AudioError(f"{path}: is truncated or damaged ({error.error_string})") from None
        if len(frames) < sound.frames:
            raise AudioError(f"{path}: is truncated, {len(frames)} of {sound.frames} samples are there")
        rate = sound.samplerate
    if not np.isfinite(frames).all():
        raise AudioError(f"{path}: holds NaN or infinite samples")
    waveform: Waveform = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1)
    if not waveform.any():
        raise AudioError(f"{path}: is digital silence, every sample is zero")
    return waveform if rate == sample_rate else soxr.resample(waveform, rate, sample_rate, quality="VHQ")


def decode_all(paths: Sequence[Path], sample_rate: int, threads: int | None = None) -> Iterator[Waveform | AudioError]:
    """Decode files on all cores, in order, a bounded number ahead of the caller.

    Args:
        paths: As for `decode`.
        sample_rate: In Hz.
        threads: Number of threads, one per core by default.

    Yields:
        For each path its waveform, float32 [samples], or the error that `decode` raised.
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
    """Play `factor` times as fast: duration and pitch change together, as by SoX `speed` (paper 4.3).

    Args:
        waveform: float32 [samples].
        factor: Above 1 is faster and shorter.

    Returns:
        float32 [round(samples / factor)].

    Raises:
        ValueError: If `factor` is not above zero.
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


def _open(path: Path) -> sf.SoundFile:
    try:
        with path.open("rb") as stream:
            source = _whole_source(path, stream)
        sound = sf.SoundFile(source)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
    except sf.LibsndfileError as error:
        raise AudioError(f"{path}: is not audio, or its header is damaged ({error.error_string})") from None
    if sound.frames == 0:
        raise AudioError(f"{path}: holds no samples")
    if sound.frames == _UNKNOWN_FRAMES:
        raise AudioError(f"{path}: its header does not say how long it is; encode it again into a file")
    return sound


def _whole_source(path: Path, stream: BinaryIO) -> Path | io.BytesIO:
    """Check what libsndfile lets pass, and return what it should open."""
    size = os.fstat(stream.fileno()).st_size
    head = stream.read(64)
    if not head:
        raise AudioError(f"{path}: is an empty file")
    if head.startswith(b"version https://git-lfs"):
        raise AudioError(f"{path}: is a git-lfs pointer, not audio; run `git lfs pull` where it came from")
    if head.startswith(b"FORM") and struct.unpack(">I", head[4:8])[0] + 8 > size:
        raise AudioError(f"{path}: is truncated, its header promises more than its {size} bytes")
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE" and (chunk := _data_chunk(stream)):
        start, length = chunk
        if size < start + length and length < _STREAMED_SIZE:
            raise AudioError(f"{path}: is truncated, {size - start} of {length} bytes of samples are there")
        riff_end = struct.unpack("<I", head[4:8])[0] + 8
        if length == 0 and riff_end <= start < size:
            stream.seek(0)
            return _with_data_length(stream.read(), start)
    return path


def _data_chunk(stream: BinaryIO) -> tuple[int, int] | None:
    """Where the samples of a RIFF file start, and the number of bytes that it declares."""
    stream.seek(12)
    while len(header := stream.read(8)) == 8:
        name, length = struct.unpack("<4sI", header)
        if name == b"data":
            return stream.tell(), length
        stream.seek(length + length % 2, os.SEEK_CUR)
    return None


def _with_data_length(content: bytes, start: int) -> io.BytesIO:
    """Fill in the length that a streaming writer left at zero, which libsndfile reads as no samples."""
    return io.BytesIO(content[: start - 4] + struct.pack("<I", len(content) - start) + content[start:])
