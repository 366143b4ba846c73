"""Checks of audio headers for contradictions, such as a declared size against the file size.

libsndfile does not compare such fields, and decodes a file with a damaged header as noise or with samples missing.

RIFF: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft 1991). AIFF: Apple 1989.
"""

import struct
from collections.abc import Iterator

from fastser.data.container import AudioStream, ContainerError
from fastser.data.file_kind import after_tags, another_stream, first_nonzero, is_padding
from fastser.data.flac_stream import flac_streams
from fastser.data.mpeg_frames import begins_like_mpeg, mpeg_streams
from fastser.data.ogg_pages import ogg_streams
from fastser.data.wave_format import WaveFormat

STREAMED_SIZE = 0x7FFFF000
"""Smallest RIFF size that marks a streaming writer, which cannot seek back to write the actual size.

SoX writes 0x7FFFF000, arecord 2^31 and ffmpeg 2^32 - 1.
"""

_RIFF_ORDER = {b"RIFF": "<", b"RIFX": ">"}
_AIFC_SAMPLE_BYTES = {
    b"raw ": 1,
    b"ulaw": 1,
    b"ULAW": 1,
    b"alaw": 1,
    b"ALAW": 1,
    b"fl32": 4,
    b"FL32": 4,
    b"fl64": 8,
    b"FL64": 8,
}
"""Bytes of a sample in codings whose field of bits may hold those of the decoded samples."""
_AIFC_LINEAR = (b"NONE", b"twos", b"sowt", b"in24", b"in32")
_MOST_CHUNKS = 10_000  # a gigabyte of zeros would be parsed as a hundred million empty chunks
_NO_SAMPLES = "is not audio, or its header is damaged (no chunk of samples at the declared position)"
_FOLLOWED = "is followed by another {} stream in the same file; save each as a file of its own"


def audio_streams(content: bytes) -> list[AudioStream]:
    """Check an audio file for contradictions, and divide it into streams that libsndfile decodes completely.

    Args:
        content: The whole file.

    Returns:
        One stream, or several of an Ogg or MP3 file that chains them. A file of another format is one stream of no
        accepted format.

    Raises:
        ContainerError: If the file is not audio, ends too early, holds sound that would be left out, or if two of its
            fields contradict each other.
    """
    untagged = content[after_tags(content) :]
    head = untagged[:12]
    if (order := _RIFF_ORDER.get(head[:4])) and head[8:] == b"WAVE":
        return [_riff_stream(untagged, order)]
    if head[:4] == b"FORM" and len(head) == 12:
        _check_aiff(untagged, head)
        return [AudioStream(untagged, ("AIFF",))]
    if head.startswith(b"fLaC"):
        return flac_streams(untagged)
    if head.startswith(b"OggS"):
        return ogg_streams(untagged)
    return mpeg_streams(content) if begins_like_mpeg(content) else [AudioStream(content, ())]


def _chunks(content: bytes, order: str, place: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, start and length of each chunk from a place on."""
    for _ in range(_MOST_CHUNKS):
        if len(header := content[place : place + 8]) < 8:
            return
        name, length = struct.unpack(f"{order}4sI", header)
        yield name, place + 8, length
        place += 8 + length + length % 2


def _riff_stream(content: bytes, order: str) -> AudioStream:
    riff_end = struct.unpack(f"{order}I", content[4:8])[0] + 8
    size = len(content)
    form: WaveFormat | None = None
    fact = None
    for name, start, length in _chunks(content, order, 12):
        if name == b"fmt " and form is None and len(fields := content[start : start + min(length, 40)]) >= 16:
            form = WaveFormat.parse(fields, order)
            form.check()
        if name == b"fact" and len(field := content[start : start + 4]) == 4:
            (fact,) = struct.unpack(f"{order}I", field)
        if name == b"data":
            streamed = length >= STREAMED_SIZE and not start < riff_end < STREAMED_SIZE
            if size < start + length and not streamed:
                raise ContainerError(f"is truncated, it has {size - start} of {length} bytes of samples")
            unwritten = length == 0 and riff_end <= start < size  # a streaming writer left both lengths at zero
            if not streamed and not unwritten:
                end = start + length
                _check_after_data(content, order, end, min(riff_end, size) if riff_end >= end else size)
            elif second := another_stream(content, start):
                raise ContainerError(_FOLLOWED.format(second))
            samples = pcm_16 = None
            if form is not None and not streamed and not unwritten and order == "<":
                pcm_16 = form.pcm_16(start, length)
            if form is not None and form.pads:
                samples = form.declared_samples(fact, size - start if streamed or unwritten else length)
            if unwritten and order == "<":  # libsndfile reads no samples if the length is zero
                content = content[: start - 4] + struct.pack("<I", size - start) + content[start:]
            return AudioStream(content, ("WAV", "WAVEX"), samples, pcm_16)
    raise ContainerError(_NO_SAMPLES)


def _check_after_data(content: bytes, order: str, end: int, riff_end: int) -> None:
    """Check that chunks, tags or zeros follow the samples, and no further samples."""
    place: int | None = end
    while place is not None and place < riff_end:
        place = _next_place(content, order, place, riff_end)
    if place is None:
        raise ContainerError(
            f"has a header that contradicts itself: its samples end at byte {end}, and no chunk follows"
        )
    if second := another_stream(content, riff_end):
        raise ContainerError(_FOLLOWED.format(second))
    if not _holds_no_samples(content, order, riff_end):
        raise ContainerError(
            f"has a header that contradicts itself: {len(content) - riff_end} bytes follow the end that it declares"
        )


def _next_place(content: bytes, order: str, place: int, riff_end: int) -> int | None:
    """Return the end of the chunk after a place, or the end of the file if only padding follows, or None.

    Some writers leave out the byte that pads an odd length.
    """
    for start in (place, place + place % 2):
        rest = content[start : min(start + 4096, riff_end)]
        if not any(rest) or _tag_follows(content, start):
            return riff_end if is_padding(content[:riff_end], start) else None
        if len(rest) >= 8 and rest[:4].isascii() and rest[:4].decode().isprintable():
            (length,) = struct.unpack(f"{order}I", rest[4:8])
            following: int = start + 8 + length
            if following <= riff_end + 1:
                if rest[:4] == b"data":
                    raise ContainerError("holds a second chunk of samples; convert it to one")
                return following
    return None


def _tag_follows(content: bytes, place: int) -> bool:
    """Return whether a tag begins at a place."""
    return after_tags(content, place) > place


def _holds_no_samples(content: bytes, order: str, riff_end: int) -> bool:
    """Return whether zeros, tags, text and chunks without samples are all that follows the declared end."""
    place: int | None = riff_end
    while place is not None:
        place = after_tags(content, first_nonzero(content, place))
        if is_padding(content, place):
            return True
        place = _next_place(content, order, place, len(content))
    return False


def _check_aiff(content: bytes, head: bytes) -> None:
    size = len(content)
    form_end = struct.unpack(">I", head[4:8])[0] + 8
    if form_end > size:
        raise ContainerError(f"is truncated, its header declares more than its {size} bytes")
    expected = None
    samples: tuple[int, int] | None = None
    for name, start, length in _chunks(content, ">", 12):
        if samples is not None and start - 8 >= form_end:
            break
        if name == b"COMM" and len(fields := content[start : start + 22]) >= 18:
            channels, frames, bits = struct.unpack(">HIH", fields[:8])
            width = _AIFC_SAMPLE_BYTES.get(fields[18:22]) if head[8:] == b"AIFC" else None
            if head[8:] == b"AIFF" or fields[18:] in _AIFC_LINEAR or width:
                expected = frames * channels * (width or -(-bits // 8))
        if name == b"SSND" and samples is not None:
            raise ContainerError("holds a second chunk of samples; convert it to one")
        if name == b"SSND":
            samples = start, length
    if samples is None:
        raise ContainerError(_NO_SAMPLES)
    start, length = samples
    offset = int.from_bytes(content[start : start + 4])
    if expected is not None and length - 8 - offset != expected:
        raise ContainerError(
            f"has a header that contradicts itself: {expected} bytes of samples in a chunk of {length}"
        )
    end = start + length
    rest = max(form_end, end)
    if second := another_stream(content, rest):
        raise ContainerError(_FOLLOWED.format(second))
    if not is_padding(content, rest) and not is_padding(content, rest + 1):
        raise ContainerError(
            f"has a header that contradicts itself: {size - rest} bytes follow the end that it declares"
        )
