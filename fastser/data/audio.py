"""Conversion of audio files to waveforms: decoding, averaging of channels, resampling, change of speed."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from fastser.data.audio_headers import audio_streams
from fastser.data.container import AudioStream, ContainerError
from fastser.data.contents import Content, read_content
from fastser.data.file_kind import non_audio
from fastser.data.flac_stream import check_flac_end, flac_checksum, samples_checksum
from fastser.runtime.errors import UserError
from fastser.runtime.files import printable

Waveform = npt.NDArray[np.float32]

_VALUES_PER_READ = 1 << 20
"""Values that are decoded at a time. It bounds the memory that a header with a wrong length can allocate."""

_EXACT = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_CODINGS = {
    "WAV": (*_EXACT, "IMA_ADPCM", "MS_ADPCM", "GSM610"),
    "WAVEX": _EXACT,
    "AIFF": _EXACT,
    "FLAC": _EXACT,
    "OGG": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_III",),
}
"""Names in libsndfile of the formats whose lengths and sample rates can be checked, and of their codings."""

_EXACT_FORMS = {
    **dict.fromkeys(
        ("PCM_S8", "PCM_U8", "PCM_16", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"), ("int16", "PCM_16")
    ),
    "PCM_24": ("int32", "PCM_24"),
    "PCM_32": ("int32", "PCM_32"),
    "FLOAT": ("float32", "FLOAT"),
    "DOUBLE": ("float64", "DOUBLE"),
}
"""Dtype of samples, and coding of a WAV file, that hold each coding without loss. Others decode to floats."""

_PADDED = ("IMA_ADPCM", "MS_ADPCM", "GSM610")
"""Codings that pad their last block, so that the header must declare the true length."""

_RATES = range(1_000, 768_001)
"""Plausible sample rates of a recording, in hertz."""

_HEAD_BYTES = 512
"""Bytes at the beginning of a file that tell most contents that are not audio."""

LOUDEST = 16.0
"""Largest plausible absolute sample. Greater ones are damaged floats, or integers that nobody scaled to 1."""

_UNKNOWN_FRAMES = 2**63 - 1
"""Number of frames that libsndfile reports for a FLAC stream whose header leaves the length open."""


_CANCEL_DB = -20.0
"""Level of the mean of channels, relative to that of the mean of unrelated channels, below which channels cancel.

A correlation of -0.99 between two channels gives this level. A microphone pair does not reach it, an inverted copy of a
channel does.
"""


_INAUDIBLE = 1e-12
"""Share of the power of a channel that rounding leaves of channels that cancel completely."""


class AudioError(UserError, ValueError):
    """An unusable audio file. The message is one sentence that starts with the path of the file.

    Attributes:
        reason: The sentence without the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{printable(path)}: {reason}")
        self.reason = reason


class UnreadableError(AudioError):
    """A file that the system did not let us read. Nothing is known of its contents, and it may be readable later."""


def decode(path: Path, sample_rate: int) -> Waveform:
    """Decode a file to mono at `sample_rate`, and keep the level of the recording.

    Channels are averaged. A file of another sample rate is resampled by soxr with the quality "VHQ".

    Args:
        path: WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3 or AIFF file. The content decides, not the suffix.
        sample_rate: Sample rate of the result in hertz.

    Returns:
        Waveform, float32 [samples], full scale is 1. Chained streams and joined files follow each other.

    Raises:
        UnreadableError: If the file cannot be read now.
        AudioError: If the file is not audio, is a Git LFS pointer, is empty, truncated or damaged, holds NaN or
            infinite samples or ones far above full scale, or is digital silence. Also if its header contradicts itself,
            if its channels cancel, or if its coding does not tell its true length.
    """
    return decode_streams(path, streams_of(path, read_audio(path)), sample_rate)


def read_audio(path: Path) -> Content:
    """Read a file. Every later verdict on the file is a verdict on these bytes.

    Raises:
        UnreadableError: If the file cannot be read now.
    """
    try:
        return read_content(path, _HEAD_BYTES, non_audio)
    except OSError as error:
        raise UnreadableError(path, f"cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise UnreadableError(path, "does not fit into memory; divide it into shorter files") from None


def streams_of(path: Path, content: Content) -> list[AudioStream]:
    """Check the contents of a file, and divide them into streams.

    Raises:
        AudioError: If they are not audio, or contradict themselves.
    """
    with _naming(path):
        if content.refused is not None:
            raise ContainerError(content.refused)
        return audio_streams(content.data)


def decode_streams(path: Path, streams: Sequence[AudioStream], sample_rate: int) -> Waveform:
    """Decode the streams of a file. Result and errors are those of `decode`."""
    recording = decode_channels(path, streams)
    waveform, rate = recording.mono, recording.rate
    resampled = waveform if rate == sample_rate else soxr.resample(waveform, rate, sample_rate, quality="VHQ")
    if len(resampled) == 0:
        raise AudioError(path, f"is too short, {len(waveform)} samples at {rate} Hz")
    return resampled


@dataclass(frozen=True, slots=True)
class Recording:
    """A decoded file at its own sample rate.

    Attributes:
        frames: Channels, float32 [samples, channels], full scale is 1.
        mono: Mean of the channels, float32 [samples].
        rate: Sample rate in hertz.
    """

    frames: npt.NDArray[np.float32]
    mono: Waveform
    rate: int


def decode_channels(path: Path, streams: Sequence[AudioStream]) -> Recording:
    """Decode the streams of a file without resampling. Errors are those of `decode`."""
    with _naming(path):
        parts, rates = zip(*map(_read, streams), strict=True)
        frames = _joined(parts, rates)
        _check_samples(streams[0].content, frames)
        return Recording(frames, mean_of_channels(frames), rates[0])


@dataclass(frozen=True, slots=True)
class ExactRecording:
    """A decoded file in the precision in which it is stored.

    Attributes:
        frames: Channels [samples, channels], as int16, int32, float32 or float64.
        rate: Sample rate in hertz.
        subtype: Coding of a WAV file, by its name in libsndfile, that holds these samples without loss.
    """

    frames: npt.NDArray[Any]
    rate: int
    subtype: str


def decode_exactly(path: Path) -> ExactRecording:
    """Decode a file without rounding, averaging of channels or resampling.

    Lossy codings become float32 samples, which are not clipped. Errors are those of `decode`, but channels may cancel.
    """
    streams = streams_of(path, read_audio(path))
    with _naming(path):
        dtype, subtype = _exact_form(streams[0])
        parts, rates = zip(*(_read(stream, dtype) for stream in streams), strict=True)
        frames = _joined(parts, rates)
        _check_samples(streams[0].content, frames)
        return ExactRecording(frames, rates[0], subtype)


def declared_sample_rate(path: Path) -> int:
    """Return the sample rate of an audio file in hertz; no samples are decoded.

    Raises:
        AudioError: If the file is not audio that `decode` reads.
    """
    stream = streams_of(path, read_audio(path))[0]
    with _naming(path), _open(stream) as sound:
        return int(sound.samplerate)


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


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn errors of a block into an AudioError of the file."""
    try:
        yield
    except ContainerError as error:
        raise AudioError(path, str(error)) from None


def _open(stream: AudioStream) -> sf.SoundFile:
    try:
        sound = sf.SoundFile(io.BytesIO(stream.content))
    except sf.LibsndfileError as error:
        raise ContainerError(f"is not audio, or its header is damaged ({error.error_string})") from None
    if sound.format not in stream.formats:
        raise ContainerError(f"is {sound.format} audio; convert it to WAV or FLAC")
    if sound.subtype not in _CODINGS[sound.format]:
        raise ContainerError(f"is {sound.format} audio coded as {sound.subtype}; convert it to WAV or FLAC")
    if sound.subtype in _PADDED and stream.samples is None:
        raise ContainerError("does not declare how many samples its last block holds; convert it to PCM")
    if sound.frames == 0:
        raise ContainerError("holds no samples")
    if sound.frames == _UNKNOWN_FRAMES:
        raise ContainerError("its header does not declare its length; encode it again into a file")
    if sound.samplerate not in _RATES:
        raise ContainerError(f"its header is damaged, it declares {sound.samplerate} Hz")
    return sound


def _exact_form(stream: AudioStream) -> tuple[str, str]:
    """Return the dtype of samples that loses nothing of a stream, and the coding of a WAV file with such samples."""
    if stream.pcm_16 is not None:
        return _EXACT_FORMS["PCM_16"]
    with _open(stream) as sound:
        return _EXACT_FORMS.get(sound.subtype, _EXACT_FORMS["FLOAT"])


def _read(stream: AudioStream, dtype: str = "float32") -> tuple[npt.NDArray[Any], int]:
    """Return all frames of a stream [samples, channels], and its sample rate in hertz."""
    if stream.pcm_16 is not None and stream.pcm_16.rate in _RATES and dtype in ("float32", "int16"):
        frames_of = stream.pcm_16.decode if dtype == "float32" else stream.pcm_16.integers
        return frames_of(stream.content), stream.pcm_16.rate
    blocks = []
    with _open(stream) as sound:
        rate = sound.samplerate
        try:
            while len(block := sound.read(max(_VALUES_PER_READ // sound.channels, 1), dtype=dtype, always_2d=True)):
                blocks.append(block)
        except sf.LibsndfileError as error:
            raise ContainerError(f"is truncated or damaged ({error.error_string})") from None
        expected = sound.frames if stream.samples is None else stream.samples
    found = sum(map(len, blocks))
    if found < expected:
        raise ContainerError(f"is truncated, it has {found} of {expected} samples")
    frames = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return frames[:expected], rate


def _joined(parts: Sequence[npt.NDArray[Any]], rates: Sequence[int]) -> npt.NDArray[Any]:
    """Return the frames of chained streams end to end."""
    forms = sorted({(rate, part.shape[1]) for part, rate in zip(parts, rates, strict=True)})
    if len(forms) > 1:
        several = " and ".join(f"{rate} Hz ({channels} channels)" for rate, channels in forms)
        raise ContainerError(f"joins streams of {several}; save each as a file of its own")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _check_samples(content: bytes, frames: npt.NDArray[Any]) -> None:
    if frames.dtype.kind == "f":
        if not np.isfinite(frames).all():
            raise ContainerError("holds NaN or infinite samples")
        if (loudest := np.abs(frames).max()) > LOUDEST:
            raise ContainerError(f"holds samples of up to {loudest:.3g}, full scale is 1")
        silent = not loudest
    else:
        silent = not frames.any()
    if silent:
        raise ContainerError("is digital silence, every sample is zero")
    if content.startswith(b"fLaC"):
        check_flac_end(content)
    checksum = flac_checksum(content)
    if checksum and samples_checksum(frames, checksum[1]) != checksum[0]:
        raise ContainerError("is damaged, the checksum of its samples differs")


def mean_of_channels(frames: npt.NDArray[np.float32]) -> Waveform:
    """Return the mean of the channels, float32 [samples].

    Args:
        frames: Samples [samples, channels].

    Raises:
        ContainerError: If the channels cancel.
    """
    channels = frames.shape[1]
    if channels == 1:
        return frames[:, 0]
    mean: Waveform = frames.mean(axis=1)
    power = frames.var(axis=0, dtype=np.float64)
    if not mean.any() or mean.var(dtype=np.float64) < 10 ** (_CANCEL_DB / 10) * power.sum() / channels**2:
        raise ContainerError(
            f"its {channels} channels cancel: their mean is {_level_below(mean, power.max())} a single channel;"
            " one of them has the wrong sign, so give one channel"
        )
    return mean


def _level_below(mean: Waveform, loudest_power: float) -> str:
    power = float(mean.var(dtype=np.float64))
    if power <= _INAUDIBLE * loudest_power:
        return "silent, unlike"
    return f"{10 * np.log10(loudest_power / power):.0f} dB below"
