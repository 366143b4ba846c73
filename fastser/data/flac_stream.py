"""Checks of FLAC files (RFC 9639) that libsndfile leaves out: sample rate, number of samples, MD5, further streams."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastser.data.container import AudioStream, ContainerError
from fastser.data.file_kind import another_stream, without_padding

_RATES = (88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
_BLOCK_SIZES = {1: 192, **{code: 576 << code - 2 for code in (2, 3, 4, 5)}, **{c: 256 << c - 8 for c in range(8, 16)}}
_NOT_LARGE = 1.5
"""Size, relative to the average, up to which a last frame is taken to reach the end of the file."""
_FRAMES_PER_BLOCK = 1 << 18
"""Samples of each channel that are converted at a time, so that a long recording needs no copies of its size."""
_LARGEST_FRAME = 1 << 20
"""Bytes from the end of a file in which the last frame is looked for, where the header does not declare its size."""


@dataclass(frozen=True, slots=True)
class _StreamInfo:
    """The STREAMINFO block."""

    block_size: int
    largest_frame: int
    rate: int
    samples: int
    md5: bytes

    @classmethod
    def parse(cls, block: bytes) -> "_StreamInfo":
        """Read the fields of the block."""
        return cls(
            int.from_bytes(block[2:4]),
            int.from_bytes(block[7:10]),
            int.from_bytes(block[10:13]) >> 4,
            int.from_bytes(block[13:18]) & (1 << 36) - 1,
            block[18:34],
        )


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame header. `rate` is None where it refers to the STREAMINFO block."""

    rate: int | None
    first_sample: int
    samples: int


def flac_streams(content: bytes) -> list[AudioStream]:
    """Return the stream of a FLAC file after checking it.

    Raises:
        ContainerError: If the first frame has another sample rate than the header.
    """
    info, start = _metadata(content)
    if info is not None:
        first = _frame(content, start, info)
        if first is not None and first.rate is not None and first.rate != info.rate:
            raise ContainerError(
                f"has a header that contradicts itself: {info.rate} Hz, but {first.rate} Hz in its first frame"
            )
    return [AudioStream(content, ("FLAC",))]


def check_flac_end(content: bytes) -> None:
    """Check that a FLAC file whose samples were decoded ends with the last of its declared samples.

    Raises:
        ContainerError: If further frames or other bytes follow.
    """
    info, start = _metadata(content)
    if info is None or not info.samples:
        return
    average = (len(content) - start) / info.samples
    last = next((f for at, f in _last_frames(content, start, info) if _is_last(content, at, f.samples * average)), None)
    end = last.first_sample + last.samples if last is not None else None
    if end == info.samples and content.find(b"fLaC", start) < 0:
        return
    if (second := another_stream(content, start)) or end is None:
        raise ContainerError(
            f"is followed by {f'another {second} stream' if second else 'bytes that are not FLAC audio'} in the same"
            " file; save each as a file of its own"
        )
    if end != info.samples:
        raise ContainerError(
            f"has a header that contradicts itself: {info.samples} samples, but its last frame ends at sample {end}"
        )


def _metadata(content: bytes) -> tuple[_StreamInfo | None, int]:
    """Return the STREAMINFO block, if there is one, and the place of the first frame."""
    info = None
    place = 4
    last = False
    while not last and len(header := content[place : place + 4]) == 4:
        last, kind, length = bool(header[0] & 0x80), header[0] & 0x7F, int.from_bytes(header[1:])
        if kind == 0 and length >= 34:
            info = _StreamInfo.parse(content[place + 4 : place + 4 + length])
        place += 4 + length
    return info, place


def flac_checksum(content: bytes) -> tuple[bytes, int] | None:
    """Return the MD5 of the samples that a FLAC file declares, and the bits per sample.

    Returns:
        None if this is no FLAC file, if the encoder left the MD5 out, or if the samples do not have 8, 16 or 24 bits.
    """
    head = content[:42]
    if not head.startswith(b"fLaC") or len(head) < 42 or not any(head[26:]):
        return None
    bits = (int.from_bytes(head[18:26]) >> 36 & 31) + 1
    return (head[26:], bits) if bits in (8, 16, 24) else None


def samples_checksum(frames: npt.NDArray[Any], bits: int) -> bytes:
    """Return the MD5 of samples as FLAC defines it.

    Args:
        frames: Samples [samples, channels]: float32 of full scale 1, or integers whose highest bits are the samples.
        bits: Bits per sample: 8, 16 or 24.
    """
    md5 = hashlib.md5(usedforsecurity=False)
    for start in range(0, len(frames), _FRAMES_PER_BLOCK):
        block = frames[start : start + _FRAMES_PER_BLOCK]
        if block.dtype.kind == "i":
            integers = block >> (8 * block.dtype.itemsize - bits)
        else:
            integers = np.rint(block * np.float32(2 ** (bits - 1)))
        md5.update(integers.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes())
    return md5.digest()


def _last_frames(content: bytes, start: int, info: _StreamInfo) -> Iterator[tuple[int, _Frame]]:
    """Yield place and header of what may be the last frame, from the end of the file on.

    Samples can look like a frame header.
    """
    place = without_padding(content)
    lowest = max(start, place - (info.largest_frame or _LARGEST_FRAME))
    sync = content[start : start + 2]  # the second byte tells whether all frames have one size
    while (place := content.rfind(sync, lowest, place)) >= 0:
        if (frame := _frame(content, place, info)) is not None:
            yield place, frame


def _is_last(content: bytes, place: int, average: float) -> bool:
    """Return whether the frame at a place ends the content, but for padding.

    Args:
        content: The file.
        place: Place of the frame.
        average: Bytes of a frame of this length on average. Only in a larger one, which other bytes may follow, is the
            CRC-16 computed, because that takes long.
    """
    end = without_padding(content)  # the checksum may end with bytes that look like padding
    if end - place <= _NOT_LARGE * average:
        return True
    return any(_crc16(content[place : end + extra]) == 0 for extra in range(min(len(content) - end, 2) + 1))


def _frame(content: bytes, place: int, info: _StreamInfo) -> _Frame | None:
    """Return the frame header at a place, or None if there is none."""
    head = content[place : place + 16]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
        return None
    block, code = head[2] >> 4, head[2] & 15
    number_bytes = _number_bytes(head[4])
    explicit_block = {6: 1, 7: 2}.get(block, 0)
    explicit_rate = {12: 1, 13: 2, 14: 2}.get(code, 0)
    end = 4 + number_bytes + explicit_block + explicit_rate
    if not number_bytes or code == 15 or block == 0 or len(head) <= end or _crc8(head[:end]) != head[end]:
        return None
    after_number = head[4 + number_bytes :]
    samples = int.from_bytes(after_number[:explicit_block]) + 1 if explicit_block else _BLOCK_SIZES[block]
    number = _number(head[4 : 4 + number_bytes])
    first = number if head[1] & 1 else number * info.block_size
    rate_field = int.from_bytes(after_number[explicit_block : explicit_block + explicit_rate])
    rate = rate_field * {12: 1000, 13: 1, 14: 10}[code] if explicit_rate else _RATES[code - 1] if code else None
    return _Frame(rate, first, samples)


def _number_bytes(first: int) -> int:
    """Return the length of a number in the coding of UTF-8, or 0 if this is none."""
    ones = 8 - (~first & 0xFF).bit_length()
    return {0: 1, 1: 0, 8: 0}.get(ones, ones)


def _number(coded: bytes) -> int:
    value = coded[0] if len(coded) == 1 else coded[0] & 0x7F >> len(coded)
    for byte in coded[1:]:
        value = value << 6 | byte & 0x3F
    return value


def _crc16(frame: bytes) -> int:
    """Return the CRC-16 of a frame, which is 0 for a frame with its checksum."""
    table, value = _crc16_table(), 0
    for word in np.frombuffer(frame.rjust(len(frame) + len(frame) % 2, b"\0"), ">u2").tolist():
        value = table[value ^ word]
    return value


@functools.cache
def _crc16_table() -> list[int]:
    """Return the CRC-16 of each word of two bytes, with the polynomial 0x8005."""
    values = np.arange(1 << 16)
    for _ in range(16):
        values = (values << 1 ^ (values >> 15) * 0x8005) & 0xFFFF
    table: list[int] = values.tolist()
    return table


def _crc8(header: bytes) -> int:
    value = 0
    for byte in header:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
    return value
