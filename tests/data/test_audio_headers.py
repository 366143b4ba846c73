"""Contradictions in the headers of WAV, AIFF, FLAC, Ogg and MP3 files."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from fastser.data.audio import AudioError, decode
from fastser.data.flac_stream import flac_checksum, samples_checksum

RATE = 16_000


def sines(seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 1_234 * time)


@pytest.fixture
def speech(tmp_path: Path) -> Callable[[str], Path]:
    """Write two seconds of sines under a file name."""

    def write(name: str) -> Path:
        sf.write(tmp_path / name, sines(2.0), RATE, subtype="PCM_16")
        return tmp_path / name

    return write


def overwritten(path: Path, place: int, content: bytes) -> Path:
    """Replace bytes of a file; a negative place counts from the end."""
    whole = bytearray(path.read_bytes())
    place %= len(whole)
    whole[place : place + len(content)] = content
    path.write_bytes(whole)
    return path


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "place", "content", "message"),
    [
        ("a.wav", 24, struct.pack("<I", 48_000), "48000 Hz and 2 bytes a frame, but 32000 bytes a second"),
        ("a.wav", 22, struct.pack("<H", 2), "2 channels of 16 bits, but 2 bytes a frame"),
        ("a.wav", 34, struct.pack("<H", 24), "1 channels of 24 bits, but 2 bytes a frame"),
        ("a.wav", 28, bytes(4), "16000 Hz and 2 bytes a frame, but 0 bytes a second"),
        ("a.wav", 40, struct.pack("<I", 1_000), "its samples end at byte 1044, and no chunk follows"),
        ("a.aiff", 22, struct.pack(">I", 1_000), "2000 bytes of samples in a chunk of 64008"),
        ("a.flac", 18, bytes([0x0B, 0xB8, 0x00]), "48000 Hz, but 16000 Hz in its first frame"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(
    speech: Callable[[str], Path], name: str, place: int, content: bytes, message: str
) -> None:
    path = overwritten(speech(name), place, content)
    with pytest.raises(AudioError, match=f"^{path}: has a header that contradicts itself: {message}"):
        decode(path, RATE)


@pytest.mark.parametrize(("place", "content"), [(4, b"\xff\xff\xff\xff"), (4, struct.pack("<I", 64_044))])
def test_a_wrong_riff_size_alone_decodes(speech: Callable[[str], Path], place: int, content: bytes) -> None:
    path = speech("a.wav")
    whole = decode(path, RATE)
    assert np.array_equal(decode(overwritten(path, place, content), RATE), whole)


@pytest.mark.parametrize("tail", [bytes(10), b"LIST\4\0\0\0INFO", b"id3 \3\0\0\0abc"])
def test_chunks_and_zeros_after_the_samples_are_accepted(speech: Callable[[str], Path], tail: bytes) -> None:
    path = speech("a.wav")
    whole = decode(path, RATE)
    content = path.read_bytes() + tail
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    assert np.array_equal(decode(path, RATE), whole)
    path.write_bytes(content + b"junk outside of the RIFF chunk")
    assert np.array_equal(decode(path, RATE), whole)


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_S8", 8), ("PCM_16", 16), ("PCM_24", 24)])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_checksum_of_flac_is_that_of_its_samples_for_all_widths(
    tmp_path: Path, subtype: str, bits: int, channels: int
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (3_000, channels))
    sf.write(tmp_path / "a.flac", samples, RATE, subtype=subtype)
    assert len(decode(tmp_path / "a.flac", RATE)) == 3_000
    decoded, _ = sf.read(tmp_path / "a.flac", dtype="float32")
    assert flac_checksum((tmp_path / "a.flac").read_bytes()) == (samples_checksum(decoded, bits), bits)
    overwritten(tmp_path / "a.flac", 26, bytes(16))  # encoders that cannot seek omit the checksum
    assert len(decode(tmp_path / "a.flac", RATE)) == 3_000


def test_flac_with_another_checksum_is_refused(speech: Callable[[str], Path]) -> None:
    path = overwritten(speech("a.flac"), 26, b"0123456789abcdef")
    with pytest.raises(AudioError, match=f"^{path}: is damaged, the checksum of its samples differs"):
        decode(path, RATE)


def test_flac_that_declares_a_terabyte_is_truncated(speech: Callable[[str], Path]) -> None:
    path = overwritten(speech("a.flac"), 22, b"\xff\xff\xff\xff")
    with pytest.raises(AudioError, match=f"^{path}: is truncated"):
        decode(path, RATE)


def test_mp3_that_declares_a_terabyte_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    sf.write(path, sines(1.0), RATE)
    content = path.read_bytes()
    place = max(content.find(b"Xing"), content.find(b"Info"))
    assert place > 0
    overwritten(path, place + 8, b"\x7f\xff\xff\xff")
    with pytest.raises(AudioError, match=f"^{path}: is truncated"):
        decode(path, RATE)


def test_ogg_pages_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    sf.write(path, sines(4.0), RATE)
    content = path.read_bytes()
    assert len(decode(path, RATE)) == 4 * RATE
    path.write_bytes(content[: content.rindex(b"OggS")])
    with pytest.raises(AudioError, match="is truncated, its last page is missing"):
        decode(path, RATE)
    path.write_bytes(content[:-1])
    with pytest.raises(AudioError, match="is truncated in the middle of a page"):
        decode(path, RATE)
    path.write_bytes(content)
    overwritten(path, -100, b"damage")
    with pytest.raises(AudioError, match="is damaged, the checksum of a page differs"):
        decode(path, RATE)


def test_samples_that_are_not_where_the_header_says_are_refused(speech: Callable[[str], Path]) -> None:
    path = speech("a.wav")
    content = path.read_bytes()
    path.write_bytes(content[:36] + b"abcd\4\0\0\0xyz" + content[36:])  # libsndfile would search for them
    with pytest.raises(AudioError, match=f"^{path}: is not audio, or its header is damaged"):
        decode(path, RATE)


def test_two_wrong_lengths_together_are_refused(speech: Callable[[str], Path]) -> None:
    path = overwritten(overwritten(speech("a.wav"), 40, struct.pack("<I", 1_000)), 4, bytes(4))
    with pytest.raises(AudioError, match="its samples end at byte 1044, and no chunk follows"):
        decode(path, RATE)


def test_the_length_of_a_streaming_writer_in_another_file_is_refused(speech: Callable[[str], Path]) -> None:
    path = overwritten(speech("a.wav"), 40, struct.pack("<I", 0x80000000))
    with pytest.raises(AudioError, match=f"^{path}: is truncated, it has 64000 of 2147483648 bytes of samples"):
        decode(path, RATE)


def test_an_extensible_wav_whose_coding_does_not_fit_its_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, sines(0.1), RATE, format="WAVEX", subtype="PCM_16")
    whole = decode(path, RATE)
    assert len(whole) == 1_600
    overwritten(path, 44, b"\7")
    with pytest.raises(AudioError, match="contradicts itself: 1 channels of 16 bits, but 2 bytes a frame"):
        decode(path, RATE)


def test_millions_of_empty_chunks_are_refused_at_once(tmp_path: Path) -> None:
    with (tmp_path / "a.wav").open("wb") as stream:
        stream.write(b"RIFF\0\0\0\0WAVE")
        stream.truncate(1 << 26)  # eight zeros are a chunk without a name and content
    with pytest.raises(AudioError, match="no chunk of samples at the declared position"):
        decode(tmp_path / "a.wav", RATE)
