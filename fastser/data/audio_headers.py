"""Checks of audio headers for contradictions, such as a declared size against the file size.

libsndfile does not compare such fields, and decodes a file with a damaged header as noise or with samples missing.

RIFF: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft 1991). AIFF: Apple 1989. FLAC:
RFC 9639. Ogg: RFC 3533.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

STREAMED_SIZE = 0x7FFFF000
"""Smallest RIFF size that marks a streaming writer, which cannot seek back to write the actual size.

SoX writes 0x7FFFF000, arecord 2^31 and ffmpeg 2^32 - 1.
"""

_RIFF_ORDER = {b"RIFF": "<", b"RIFX": ">"}
_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_AIFC_LINEAR = (b"NONE", b"twos", b"sowt")
_FLAC_RATES = (88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
_MOST_CHUNKS = 10_000  # a gigabyte of zeros would be parsed as a hundred million empty chunks
_NO_SAMPLES = "is not audio, or its header is damaged (no chunk of samples at the declared position)"
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class ContainerError(ValueError):
    """A file whose parts contradict each other. The message continues a sentence that starts with the path."""


def check(stream: BinaryIO) -> None:
    """Check a WAV, AIFF, FLAC or Ogg file for contradictions. Files of other formats pass.

    Args:
        stream: Open file at its beginning. Its position changes.

    Raises:
        ContainerError: If the file ends too early, or if two of its fields contradict each other.
    """
    head = stream.read(12)
    if (order := _RIFF_ORDER.get(head[:4])) and head[8:] == b"WAVE":
        _check_riff(stream, order, riff_end=struct.unpack(f"{order}I", head[4:8])[0] + 8)
    elif head[:4] == b"FORM" and len(head) == 12:
        _check_aiff(stream, head)
    elif head.startswith(b"fLaC"):
        _check_flac(stream)
    elif head.startswith(b"OggS"):
        _check_ogg(stream)


def streamed_data(stream: BinaryIO) -> int | None:
    """Return the position of the first sample of a WAV file whose writer left the length at zero, else None."""
    stream.seek(0)
    head = stream.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    riff_end = struct.unpack("<I", head[4:8])[0] + 8
    for name, start, length in _chunks(stream, "<"):
        if name == b"data":
            return start if length == 0 and riff_end <= start < _size(stream) else None
    return None


def flac_checksum(stream: BinaryIO) -> tuple[bytes, int] | None:
    """Return the MD5 of the samples that a FLAC file declares, and the bits per sample.

    Returns:
        None if the encoder left the MD5 out, or if the samples do not have 8, 16 or 24 bits.
    """
    stream.seek(0)
    head = stream.read(42)
    if not head.startswith(b"fLaC") or len(head) < 42 or not any(head[26:]):
        return None
    bits = (int.from_bytes(head[18:26]) >> 36 & 31) + 1
    return (head[26:], bits) if bits in (8, 16, 24) else None


def samples_checksum(frames: npt.NDArray[np.float32], bits: int) -> bytes:
    """Return the MD5 of samples as FLAC defines it.

    Args:
        frames: Samples, float32 [samples, channels], full scale is 1.
        bits: Bits per sample: 8, 16 or 24.
    """
    integers = np.rint(frames * np.float32(2 ** (bits - 1))).astype("<i4")
    return hashlib.md5(integers.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes(), usedforsecurity=False).digest()


def _size(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_size


def _chunks(stream: BinaryIO, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, start and length of each chunk from the current position. The caller may move the position."""
    position = stream.tell()
    for _ in range(_MOST_CHUNKS):
        if len(header := stream.read(8)) < 8:
            return
        name, length = struct.unpack(f"{order}4sI", header)
        yield name, position + 8, length
        position += 8 + length + length % 2
        stream.seek(position)


def _check_riff(stream: BinaryIO, order: str, riff_end: int) -> None:
    size = _size(stream)
    for name, start, length in _chunks(stream, order):
        if name == b"fmt ":
            _check_wave_format(stream.read(min(length, 40)), order)
        if name == b"data":
            streamed = length >= STREAMED_SIZE and not start < riff_end < STREAMED_SIZE
            if size < start + length and not streamed:
                raise ContainerError(f"is truncated, it has {size - start} of {length} bytes of samples")
            end = start + length
            if length or riff_end > start:
                _check_after_data(stream, order, end, min(riff_end, size) if riff_end >= end else size)
            return
    raise ContainerError(_NO_SAMPLES)


def _check_wave_format(fields: bytes, order: str) -> None:
    if len(fields) < 16:
        return
    tag, channels, rate, bytes_per_second, align, bits = struct.unpack(f"{order}HHIIHH", fields[:16])
    if tag == _EXTENSIBLE and len(fields) == 40:
        (tag,) = struct.unpack(f"{order}H", fields[24:26])
    if tag in (_A_LAW, _MU_LAW):
        possible = {channels}
    elif tag in (_PCM, _FLOAT):
        possible = {channels * -(-bits // 8), *([4 * channels] if bits in (20, 24) else [])}
    else:
        return
    if align not in possible:
        raise ContainerError(
            f"has a header that contradicts itself: {channels} channels of {bits} bits, but {align} bytes a frame"
        )
    if bytes_per_second != rate * align:
        raise ContainerError(
            f"has a header that contradicts itself: {rate} Hz and {align} bytes a frame, but {bytes_per_second} bytes"
            " a second"
        )


def _check_after_data(stream: BinaryIO, order: str, end: int, riff_end: int) -> None:
    """Check that another chunk or zeros follow the samples inside the RIFF chunk."""
    for position in (end, end + end % 2):
        stream.seek(position)
        rest = stream.read(max(min(riff_end - position, 4096), 0))
        if not any(rest):
            return
        if len(rest) >= 8 and rest[:4].isascii() and rest[:4].decode().isprintable():
            (length,) = struct.unpack(f"{order}I", rest[4:8])
            if position + 8 + length <= riff_end + 1:
                return
    raise ContainerError(f"has a header that contradicts itself: its samples end at byte {end}, and no chunk follows")


def _check_aiff(stream: BinaryIO, head: bytes) -> None:
    size = _size(stream)
    if struct.unpack(">I", head[4:8])[0] + 8 > size:
        raise ContainerError(f"is truncated, its header declares more than its {size} bytes")
    expected = None
    for name, _, length in _chunks(stream, ">"):
        if name == b"COMM" and len(fields := stream.read(22)) >= 18:
            channels, frames, bits = struct.unpack(">HIH", fields[:8])
            if head[8:] == b"AIFF" or fields[18:] in _AIFC_LINEAR:
                expected = frames * channels * -(-bits // 8)
        if name == b"SSND" and expected is not None and len(fields := stream.read(4)) == 4:
            (offset,) = struct.unpack(">I", fields)
            if length - 8 - offset != expected:
                raise ContainerError(
                    f"has a header that contradicts itself: {expected} bytes of samples in a chunk of {length}"
                )
        if name == b"SSND":
            return
    raise ContainerError(_NO_SAMPLES)


def _check_flac(stream: BinaryIO) -> None:
    """Check that the sample rate of the file is the sample rate of its first frame."""
    stream.seek(4)
    rate = None
    last = False
    while not last and len(header := stream.read(4)) == 4:
        last, kind, length = bool(header[0] & 0x80), header[0] & 0x7F, int.from_bytes(header[1:])
        block = stream.read(length)
        if kind == 0 and len(block) >= 18:
            rate = int.from_bytes(block[10:13]) >> 4
    found = _flac_frame_rate(stream.read(16))
    if rate is not None and found is not None and rate != found:
        raise ContainerError(f"has a header that contradicts itself: {rate} Hz, but {found} Hz in its first frame")


def _flac_frame_rate(frame: bytes) -> int | None:
    """Return the sample rate in a frame header. None if it refers to the file header, or if this is no frame."""
    if len(frame) < 16 or frame[0] != 0xFF or frame[1] & 0xFC != 0xF8:
        return None
    block_size, code = frame[2] >> 4, frame[2] & 15
    explicit = frame[5 + {6: 1, 7: 2}.get(block_size, 0) :]  # after the frame number, which is 0 and one byte long
    if code == 12:
        return 1000 * explicit[0]
    if code in (13, 14):
        return int.from_bytes(explicit[:2]) * (10 if code == 14 else 1)
    return _FLAC_RATES[code - 1] if 1 <= code <= 11 else None


def _check_ogg(stream: BinaryIO) -> None:
    """Check that every page is complete, and that the last one is marked as the last."""
    stream.seek(0)
    last = False
    while len(header := stream.read(27)) == 27 and header.startswith(b"OggS"):
        table = stream.read(header[26])
        body = stream.read(sum(table))
        if len(table) < header[26] or len(body) < sum(table):
            raise ContainerError("is truncated in the middle of a page")
        if _ogg_checksum(header[:22] + bytes(4) + header[26:] + table + body) != struct.unpack("<I", header[22:26])[0]:
            raise ContainerError("is damaged, the checksum of a page differs")
        last = bool(header[5] & 4)
    if not last:
        raise ContainerError("is truncated, its last page is missing")


def _ogg_checksum(page: bytes) -> int:
    """Return the CRC-32 of an Ogg page: zlib's polynomial with reversed bit order, starting from zero."""
    reflected = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
