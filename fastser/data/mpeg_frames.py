"""MPEG audio frames of MP3 files, counted, because libsndfile estimates the length where no header declares it.

Layer III: ISO/IEC 11172-3 and 13818-3. Header frame: "Mp3 Info Tag rev 1" of LAME; "VBRI" of Fraunhofer.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastser.data.container import AudioStream, ContainerError
from fastser.data.file_kind import first_nonzero, is_padding, tag_length

_MPEG_1, _RESERVED_VERSION = 3, 1
_LAYER_III = 1
_LAYERS = {3: "I", 2: "II"}
_KBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits per second by index, of MPEG 1 and of MPEG 2 and 2.5."""
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Sample rates by index, of MPEG 1, 2 and 2.5."""
_HEADER_FRAME = re.compile(rb"Xing|Info|VBRI")
_VBRI_PLACE = 36


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of one frame: its size in bytes, and what all frames of a stream have in common."""

    size: int
    version: int
    rate: int
    mono: bool

    @property
    def side_bytes(self) -> int:
        """Return the number of bytes of the side information."""
        return {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[
            self.version == _MPEG_1, self.mono
        ]

    def same_form(self, other: "_Header") -> bool:
        """Return whether two frames can follow each other in one stream."""
        return (self.version, self.rate, self.mono) == (other.version, other.rate, other.mono)


@dataclass(slots=True)
class _Segment:
    """Frames that one encoder wrote, from a header frame (Xing, Info, VBRI) to the next.

    Attributes:
        header: Header of the first frame.
        place: Place of the header frame, or of the first frame where there is no header frame.
        tag: The bytes of the header frame, empty where there is none.
        declared: Number of frames that the header frame declares.
        declared_bytes: Number of bytes that it declares.
        frames: Number of frames.
        pieces: Places in the file of frames without a tag between them.
    """

    header: _Header
    place: int
    tag: bytes = b""
    declared: int | None = None
    declared_bytes: int | None = None
    frames: int = 0
    pieces: list[slice] = field(default_factory=list)

    def append(self, start: int, size: int) -> None:
        """Add a frame."""
        self.frames += 1
        if self.pieces and self.pieces[-1].stop == start:
            self.pieces[-1] = slice(self.pieces[-1].start, start + size)
        else:
            self.pieces.append(slice(start, start + size))

    def stream(self, content: bytes) -> bytes:
        """Return the frames behind a header frame that declares their true number.

        Raises:
            ContainerError: If the header frame declares more frames than there are.
        """
        frames = b"".join(content[piece] for piece in self.pieces)
        if self.declared == self.frames:
            return self.tag + frames
        if self.declared is not None and self.declared > self.frames and self._is_truncated(len(frames)):
            raise ContainerError(f"is truncated, it has {self.frames} of {self.declared} MPEG frames")
        return self._info_frame(content, len(frames)) + frames

    def _is_truncated(self, size: int) -> bool:
        """Return whether frames are missing. Some encoders count the header frame as one."""
        assert self.declared is not None
        one_more = self.declared == self.frames + 1
        return not one_more or (self.declared_bytes or 0) > len(self.tag) + size

    def _info_frame(self, content: bytes, size: int) -> bytes:
        """Return a header frame with the number of frames and bytes."""
        head = bytearray(content[self.pieces[0].start :][:4])
        head[1] |= 1  # no checksum
        head[2] = 14 << 4 | head[2] & 0x0C  # the highest bit rate, so that the fields have room; no padding
        parsed = _header(bytes(head), 0)
        assert parsed is not None
        fields = b"Info" + struct.pack(">III", 3, self.frames, parsed.size + size)
        return (bytes(head) + bytes(self.header.side_bytes) + fields).ljust(parsed.size, b"\0")


def begins_like_mpeg(content: bytes) -> bool:
    """Return whether libsndfile takes a content for MP3: it begins with an ID3 tag or a frame."""
    return content.startswith(b"ID3") or (len(content) >= 2 and content[0] == 0xFF and content[1] & 0xE0 == 0xE0)


def mpeg_streams(content: bytes) -> list[AudioStream]:
    """Divide an MP3 file into streams, one for each joined file, whose headers declare their true length.

    A stream whose header frame is right stays as it is, so that the decoder removes the encoder's delay and padding.
    Where no header frame declares the length, or a wrong one, all frames are kept and only the decoder's delay of 529
    samples is removed.

    Raises:
        ContainerError: If the file is truncated, if bytes between its frames are neither a frame nor a tag, if it joins
            streams of different form, or if its coding cannot be decoded safely.
    """
    segments: list[_Segment] = []
    for segment in _segments(content):
        if segment.frames:
            segments.append(segment)
        elif segment.declared:
            raise ContainerError(f"is truncated, it has 0 of {segment.declared} MPEG frames")
    if not segments:
        raise ContainerError("is not audio, or its header is damaged (no MPEG frame)")
    return [AudioStream(segment.stream(content), ("MP3",)) for segment in segments]


def _segments(content: bytes) -> Iterator[_Segment]:
    segment: _Segment | None = None
    first: _Header | None = None
    place, after_frame = 0, False
    while place < len(content):
        if length := tag_length(content, place):
            place, after_frame = place + length, False
            continue
        header = _header(content, place)
        if header is None:
            place = _after_zeros(content, place, after_frame)
            continue
        if place + header.size > len(content):
            raise ContainerError("is truncated in the middle of an MPEG frame")
        first = first or header
        if not header.same_form(first):
            raise ContainerError(
                f"joins streams of {first.rate} Hz ({_channels(first)}) and {header.rate} Hz ({_channels(header)});"
                " convert it to WAV or FLAC"
            )
        tag = content[place : place + header.size]
        if declared := _declared(tag, header):
            if segment is not None:
                yield segment
            segment = _Segment(header, place, tag, *declared)
        else:
            segment = segment or _Segment(header, place)
            segment.append(place, header.size)
        place, after_frame = place + header.size, True
    if segment is not None:
        yield segment


def _after_zeros(content: bytes, place: int, after_frame: bool) -> int:
    """Return the end of the zeros at a place. They may pad a tag or the end of the file, but not replace frames."""
    if is_padding(content, place):
        return len(content)
    end = first_nonzero(content, place)
    if end == place or (after_frame and end < len(content) and not tag_length(content, end)):
        raise ContainerError(f"is damaged, at byte {place} begins neither an MPEG frame nor a tag")
    return end


def _channels(header: _Header) -> str:
    return "mono" if header.mono else "stereo"


def _header(content: bytes, place: int) -> _Header | None:
    """Return the frame header at a place, or None if there is none.

    Raises:
        ContainerError: If it is the header of a coding that cannot be decoded safely.
    """
    fields = content[place : place + 4]
    if len(fields) < 4 or fields[0] != 0xFF or fields[1] & 0xE0 != 0xE0:
        return None
    version, layer, kbit, rate = fields[1] >> 3 & 3, fields[1] >> 1 & 3, fields[2] >> 4, fields[2] >> 2 & 3
    if version == _RESERVED_VERSION or layer == 0 or kbit == 15 or rate == 3:
        return None
    if layer != _LAYER_III:
        raise ContainerError(f"is MPEG audio of layer {_LAYERS[layer]}, not MP3; convert it to WAV or FLAC")
    if kbit == 0:
        raise ContainerError("is MP3 of a free bit rate, whose length cannot be checked; convert it to WAV or FLAC")
    hertz, newest = _RATES[version][rate], version == _MPEG_1
    size = (144 if newest else 72) * 1000 * _KBITS[newest][kbit] // hertz + (fields[2] >> 1 & 1)
    return _Header(size, version, hertz, fields[3] >> 6 == 3)


def _declared(frame: bytes, header: _Header) -> tuple[int | None, int | None] | None:
    """Return the numbers of frames and bytes that a header frame declares, or None if the frame holds samples."""
    if not (found := _HEADER_FRAME.search(frame[: _VBRI_PLACE + 6])):
        return None
    place, fields = found.start(), frame[found.end() :]
    if found[0] == b"VBRI":
        if place != _VBRI_PLACE or len(fields) < 14:
            return None
        return int.from_bytes(fields[10:14]), int.from_bytes(fields[6:10])
    checksum = 0 if frame[1] & 1 else 2
    if place not in (4 + header.side_bytes, 4 + checksum + header.side_bytes) or any(frame[6:place]):
        return None
    flags, values = int.from_bytes(fields[:4]), [int.from_bytes(fields[i : i + 4]) for i in (4, 8)]
    frames = values.pop(0) if flags & 1 else None
    return frames, values[0] if flags & 2 else None
