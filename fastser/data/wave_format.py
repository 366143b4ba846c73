"""The format chunk of WAV files: checked against itself, and the true length of codings that pad their last block."""

import struct
from dataclasses import dataclass

from fastser.data.container import ContainerError
from fastser.data.pcm import Pcm16

_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_MS_ADPCM, _IMA_ADPCM, _GSM = 2, 0x11, 0x31
_MOST_CHANNELS = 1024
"""Largest number of channels that libsndfile decodes."""
_GSM_SAMPLES = 320
"""Samples in a block of 65 bytes, two frames of GSM 06.10."""


@dataclass(frozen=True, slots=True)
class WaveFormat:
    """The fields of a format chunk.

    Attributes:
        tag: Coding of the samples; that of the sub-format of an extensible header.
        channels: Number of channels.
        rate: Sample rate in hertz.
        bytes_per_second: Declared bytes a second.
        align: Bytes of a block, or of a sample of all channels where the coding has no blocks.
        bits: Bits of a sample.
        extensible: Whether the header is extensible, with more fields than these.
    """

    tag: int
    channels: int
    rate: int
    bytes_per_second: int
    align: int
    bits: int
    extensible: bool = False

    @classmethod
    def parse(cls, fields: bytes, order: str) -> "WaveFormat":
        """Read the fields of a chunk.

        Args:
            fields: The first 40 bytes of the chunk, at least 16.
            order: Byte order of the file, "<" or ">".
        """
        tag, *rest = struct.unpack(f"{order}HHIIHH", fields[:16])
        extensible = tag == _EXTENSIBLE
        if extensible and len(fields) == 40:
            (tag,) = struct.unpack(f"{order}H", fields[24:26])
        channels, rate, bytes_per_second, align, bits = rest
        return cls(tag, channels, rate, bytes_per_second, align, bits, extensible)

    def check(self) -> None:
        """Check that the fields agree with each other.

        Raises:
            ContainerError: If they do not.
        """
        if self.tag in (_A_LAW, _MU_LAW):
            possible = {self.channels}
        elif self.tag in (_PCM, _FLOAT):
            possible = {
                self.channels * -(-self.bits // 8),
                *([4 * self.channels] if self.bits in (20, 24) else []),
            }
        else:
            return
        if self.align not in possible:
            raise ContainerError(
                f"has a header that contradicts itself: {self.channels} channels of {self.bits} bits, but {self.align}"
                " bytes a frame"
            )
        if self.bytes_per_second != self.rate * self.align:
            raise ContainerError(
                f"has a header that contradicts itself: {self.rate} Hz and {self.align} bytes a frame, but"
                f" {self.bytes_per_second} bytes a second"
            )

    def pcm_16(self, start: int, size: int) -> Pcm16 | None:
        """Return the place of plain 16-bit samples, or None if libsndfile must decode them.

        Args:
            start: First byte of the samples.
            size: Bytes of samples.
        """
        plain = self.tag == _PCM and self.bits == 16 and not self.extensible
        if not plain or not 1 <= self.channels <= _MOST_CHANNELS or not size or size % self.align:
            return None
        return Pcm16(start, size // self.align, self.channels, self.rate)

    @property
    def pads(self) -> bool:
        """Return whether the coding pads its last block."""
        return self.tag in (_MS_ADPCM, _IMA_ADPCM, _GSM)

    def declared_samples(self, fact: int | None, size: int) -> int:
        """Return the true number of samples of each channel in a coding that pads its last block.

        Args:
            fact: Number that the `fact` chunk declares, or None where the file has no such chunk.
            size: Bytes of samples.

        Raises:
            ContainerError: If there is no `fact` chunk, or if its number does not end in the last block.
        """
        if fact is None or self.channels < 1 or self.align < 1:
            raise ContainerError("does not declare how many samples its last block holds; convert it to PCM")
        per_block = self._samples_in(self.align)
        whole, rest = divmod(size, self.align)
        available = whole * per_block + self._samples_in(rest)
        if fact > available:
            raise ContainerError(f"is truncated, it has {available} of {fact} samples")
        if available - fact >= per_block or not fact:
            raise ContainerError(
                f"has a header that contradicts itself: {fact} samples, but blocks that hold {available}"
            )
        return fact

    def _samples_in(self, size: int) -> int:
        """Return the samples of each channel in a block, or in the beginning of one."""
        if self.tag == _GSM:
            return _GSM_SAMPLES if size == self.align else 0
        if self.tag == _MS_ADPCM:
            return 2 + 2 * (size - 7 * self.channels) // self.channels if size >= 7 * self.channels else 0
        if size < 4 * self.channels:
            return 0
        return 1 + 8 * ((size - 4 * self.channels) // (4 * self.channels))
