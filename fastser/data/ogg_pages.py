"""Pages of Ogg files (RFC 3533): checked, and divided into the streams that a file chains."""

import struct
import zlib

from fastser.data.container import AudioStream, ContainerError
from fastser.data.file_kind import is_padding

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FIRST, _LAST = 2, 4
"""Flags of the first and of the last page of a stream."""
_NO_GRANULE = -1
"""Position of a page on which no packet ends."""


def ogg_streams(content: bytes) -> list[AudioStream]:
    """Divide an Ogg file into its chained streams, because libsndfile decodes the first one only.

    Raises:
        ContainerError: If a page is incomplete, damaged, missing or superfluous, or if streams are interleaved.
    """
    streams: list[AudioStream] = []
    place = 0
    start: int | None = None
    serial = number = granule = 0
    while place < len(content):
        header = content[place : place + 27]
        if not header.startswith(b"OggS"):
            if start is None and streams and is_padding(content, place):
                break
            raise ContainerError(f"is damaged, no Ogg page begins at byte {place}")
        end = _end(content, place)
        page_granule, page_serial, page_number = struct.unpack("<qII", header[6:22])
        if header[5] & _FIRST:
            if start is not None:
                raise ContainerError(_INTERLEAVED if number == 0 else _NO_LAST_PAGE)
            start, serial, granule = place, page_serial, 0
        elif start is None:
            raise ContainerError("is damaged, a page follows the last page of its stream")
        elif page_serial != serial:
            raise ContainerError(_INTERLEAVED)
        elif page_number != number + 1:
            raise ContainerError(f"is damaged, the page after page {number} is missing")
        number = page_number
        if page_granule != _NO_GRANULE:
            if page_granule < granule:
                raise ContainerError("has a header that contradicts itself: the positions of its pages decrease")
            granule = page_granule
        if header[5] & _LAST:
            streams.append(AudioStream(content[start:end], ("OGG",)))
            start = None
        place = end
    if start is not None:
        raise ContainerError(_NO_LAST_PAGE)
    return streams


_INTERLEAVED = "interleaves several Ogg streams; convert it to WAV or FLAC"
_NO_LAST_PAGE = "is truncated, its last page is missing"


def _end(content: bytes, place: int) -> int:
    """Return the end of the page at a place, after checking its checksum."""
    header = content[place : place + 27]
    table = content[place + 27 : place + 27 + header[26]] if len(header) == 27 else b""
    end = place + 27 + len(table) + sum(table)
    if len(header) < 27 or len(table) < header[26] or end > len(content):
        raise ContainerError("is truncated in the middle of a page")
    page = content[place:end]
    if _checksum(page[:22] + bytes(4) + page[26:]) != struct.unpack("<I", header[22:26])[0]:
        raise ContainerError("is damaged, the checksum of a page differs")
    return end


def _checksum(page: bytes) -> int:
    """Return the CRC-32 of an Ogg page: zlib's polynomial with reversed bit order, starting from zero."""
    reflected = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
