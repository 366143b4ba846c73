"""16-bit PCM that needs no decoder: the same samples as libsndfile's, and only where the header is plain."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from fastser.data.audio import AudioError, decode, read_audio, streams_of
from fastser.data.pcm import Pcm16

RATE = 16_000
EVERY_VALUE = np.arange(-(2**15), 2**15).astype(np.int16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.wav"


def place_of(path: Path) -> Pcm16 | None:
    return streams_of(path, read_audio(path))[0].pcm_16


@pytest.mark.fast
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_every_value_is_the_one_of_libsndfile(path: Path, channels: int) -> None:
    sf.write(path, EVERY_VALUE.reshape(-1, channels), RATE, subtype="PCM_16")
    place = place_of(path)
    assert place is not None
    expected, rate = sf.read(path, dtype="float32", always_2d=True)
    assert place.rate == rate
    np.testing.assert_array_equal(place.decode(path.read_bytes()), expected, strict=True)


@pytest.mark.fast
def test_a_plain_file_is_decoded_without_libsndfile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sf.write(path, EVERY_VALUE, RATE, subtype="PCM_16")
    expected, _ = sf.read(path, dtype="float32")
    monkeypatch.setattr("fastser.data.audio._open", None)
    np.testing.assert_array_equal(decode(path, RATE), expected)


@pytest.mark.parametrize(
    ("form", "subtype", "endian"),
    [
        ("WAVEX", "PCM_16", "LITTLE"),
        ("WAV", "PCM_24", "LITTLE"),
        ("WAV", "PCM_U8", "LITTLE"),
        ("WAV", "FLOAT", "LITTLE"),
        ("WAV", "PCM_16", "BIG"),
        ("AIFF", "PCM_16", "BIG"),
    ],
)
def test_libsndfile_decodes_every_other_form(path: Path, form: str, subtype: str, endian: str) -> None:
    sf.write(path, EVERY_VALUE / 2**15, RATE, format=form, subtype=subtype, endian=endian)
    assert place_of(path) is None
    np.testing.assert_array_equal(decode(path, RATE), sf.read(path, dtype="float32")[0])


def test_libsndfile_decodes_lengths_of_a_streaming_writer(path: Path) -> None:
    sf.write(path, EVERY_VALUE, RATE, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert place_of(path) is None
    assert len(decode(path, RATE)) == len(EVERY_VALUE)


def test_samples_that_end_in_the_middle_of_a_frame_are_left_to_libsndfile(path: Path) -> None:
    sf.write(path, EVERY_VALUE.reshape(-1, 2), RATE, subtype="PCM_16")
    content = path.read_bytes()[:-2]
    lengths = (len(content) - 8).to_bytes(4, "little"), (len(content) - 44).to_bytes(4, "little")
    path.write_bytes(content[:4] + lengths[0] + content[8:40] + lengths[1] + content[44:])
    assert place_of(path) is None


def test_the_checks_of_rate_and_samples_hold_without_a_decoder(path: Path) -> None:
    sf.write(path, EVERY_VALUE, 1, subtype="PCM_16")
    with pytest.raises(AudioError, match="its header is damaged, it declares 1 Hz"):
        decode(path, RATE)
    sf.write(path, np.zeros(100, np.int16), RATE, subtype="PCM_16")
    with pytest.raises(AudioError, match="is digital silence"):
        decode(path, RATE)
