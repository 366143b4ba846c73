"""Streams in audio files, and the error for a file whose parts contradict each other."""

from dataclasses import dataclass

from fastser.data.pcm import Pcm16


class ContainerError(ValueError):
    """A file whose parts contradict each other. The message continues a sentence that starts with the path."""


@dataclass(frozen=True, slots=True)
class AudioStream:
    """One stream of an audio file. Most files hold one; Ogg and MP3 files may chain several.

    Attributes:
        content: The stream as a file that libsndfile decodes completely.
        formats: Names in libsndfile of the formats that the stream may have.
        samples: Number of samples of each channel that the header declares, where the codec pads its last block.
        pcm_16: Place of the samples, where they are plain 16-bit PCM that needs no decoder.
    """

    content: bytes
    formats: tuple[str, ...]
    samples: int | None = None
    pcm_16: Pcm16 | None = None
