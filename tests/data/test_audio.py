"""Decoding, resampling and change of speed, compared with scipy and torchaudio, and refusal of unusable files."""

import csv
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from scipy import signal

from fastser.data.audio import AudioError, change_speed, decode
from fastser.data.contents import content_digests
from fastser.data.decoding import decode_all

RATE = 16_000


def band_limited(seconds: float, rate: int, highest: float = 5_000.0) -> np.ndarray:
    """Return twenty sines of random frequencies below `highest`, faded at both ends."""
    rng = np.random.default_rng(3)
    time = np.arange(round(seconds * rate)) / rate
    waves = np.sin(2 * np.pi * (rng.uniform(50, highest, (20, 1)) * time + rng.random((20, 1))))
    return (0.03 * waves.sum(axis=0) * signal.windows.tukey(len(time), 0.2)).astype(np.float32)


@pytest.fixture
def speech(tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes two seconds of sines to a file and returns its path."""

    def write(name: str) -> Path:
        sf.write(tmp_path / name, band_limited(2.0, RATE), RATE, subtype="PCM_16")
        return tmp_path / name

    return write


def test_every_unusual_original_decodes_or_is_refused(shared_corpora: Path) -> None:
    with (shared_corpora / "raw_quirks" / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 15
    for row in rows:
        path = shared_corpora / "raw_quirks" / row["file"]
        if row["fmt"] == "TEXT":
            with pytest.raises(AudioError, match=r"1001_DFA_ANG_XX.wav: .*git lfs pull"):
                decode(path, RATE)
            continue
        waveform = decode(path, RATE)
        assert waveform.dtype == np.float32
        assert waveform.ndim == 1
        assert abs(len(waveform) / RATE - float(row["dur_s"])) < 1e-3, row["file"]


def test_levels_of_unusual_originals_are_kept(shared_corpora: Path) -> None:
    quirks = shared_corpora / "raw_quirks"

    def level(name: str) -> float:
        return float(20 * np.log10(np.sqrt(np.mean(decode(quirks / name, RATE) ** 2))))

    assert level("03-01-04-01-01-01-09.wav") == pytest.approx(-63.7, abs=0.5)
    assert level("p232_283_float32.wav") > -40
    assert decode(quirks / "SM27_F4_S096.wav", RATE).mean() == pytest.approx(-0.0595, abs=1e-3)
    channels, _ = sf.read(quirks / "03-01-02-01-01-02-01.wav")
    assert channels.shape[1] == 2
    np.testing.assert_allclose(
        decode(quirks / "03-01-02-01-01-02-01.wav", 48_000), channels.mean(axis=1), rtol=0, atol=1e-7
    )
    assert np.array_equal(
        decode(quirks / "03-01-03-01-02-01-07.wav", RATE), decode(quirks / "03-01-03-01-02-02-07.wav", RATE)
    )


def test_resampling_a_48_khz_original_equals_the_packed_corpus(shared_corpora: Path) -> None:
    ours = decode(shared_corpora / "raw_quirks" / "03-01-01-01-01-01-01.wav", RATE)
    packed = decode(shared_corpora / "ravdess_speech" / "Actor_01" / "03-01-01-01-01-01-01.flac", RATE)
    np.testing.assert_allclose(ours, packed, rtol=0, atol=1.0 / 32768)


def decoded_from(original: np.ndarray, rate: int, path: Path) -> np.ndarray:
    sf.write(path, original, rate, subtype="FLOAT")
    return decode(path, RATE)


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Compare lengths within one sample, for rounding, and values within 0.4 % of the peak, for filter edges."""
    assert abs(len(ours) - len(theirs)) <= 1
    length = min(len(ours), len(theirs))
    assert np.abs(ours[:length] - theirs[:length]).max() < 4e-3 * np.abs(theirs).max()


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_414, 44_100, 48_000])
def test_resampling_agrees_with_scipy(tmp_path: Path, rate: int) -> None:
    original = band_limited(0.5, rate, min(0.3 * rate, 5_000))
    common = np.gcd(rate, RATE)
    assert_close(
        decoded_from(original, rate, tmp_path / "a.wav"),
        signal.resample_poly(original, RATE // common, rate // common),
    )


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampling_agrees_with_torchaudio(tmp_path: Path, rate: int, torchaudio_functional: Any) -> None:
    original = band_limited(0.5, rate, min(0.3 * rate, 5_000))
    assert_close(
        decoded_from(original, rate, tmp_path / "a.wav"),
        torchaudio_functional.resample(torch.from_numpy(original), rate, RATE, lowpass_filter_width=64).numpy(),
    )


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.0, 2.0, 0.5])
def test_speed_changes_length_and_pitch(factor: float) -> None:
    time = np.arange(RATE) / RATE
    sine = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    faster = change_speed(sine, factor)
    assert faster.dtype == np.float32
    assert len(faster) == round(len(sine) / factor)
    assert len(change_speed(sine[:13], factor)) == round(13 / factor)
    spectrum = np.abs(np.fft.rfft(faster * np.hanning(len(faster)), 2**18))
    assert np.argmax(spectrum) * RATE / 2**18 == pytest.approx(440 * factor, abs=0.2)
    assert np.abs(faster[100:-100]).max() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("factor", "before", "after"), [(0.9, 9, 10), (1.1, 11, 10)])
def test_speed_agrees_with_torchaudio(factor: float, before: int, after: int, torchaudio_functional: Any) -> None:
    original = band_limited(0.5, RATE)
    theirs = torchaudio_functional.resample(torch.from_numpy(original), before, after, lowpass_filter_width=64).numpy()
    assert_close(change_speed(original, factor), theirs)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_speed_must_be_positive(factor: float) -> None:
    with pytest.raises(ValueError, match="factor: must be above 0"):
        change_speed(np.ones(10, np.float32), factor)


def test_channels_are_averaged_and_nothing_is_normalised(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).normal(0, 1e-3, (1_000, 3)).astype(np.float32)
    sf.write(tmp_path / "a.wav", channels, RATE, subtype="FLOAT")
    np.testing.assert_allclose(decode(tmp_path / "a.wav", RATE), channels.mean(axis=1), rtol=0, atol=1e-9)


@pytest.mark.fast
@pytest.mark.parametrize("form", ["AIFF", "FLAC", "OGG", "MP3"])
def test_the_content_decides_the_format_not_the_suffix(tmp_path: Path, form: str) -> None:
    original = band_limited(1.0, RATE)
    sf.write(tmp_path / "other.wav", original, RATE, format=form)
    decoded = decode(tmp_path / "other.wav", RATE)
    assert len(decoded) == len(original)
    assert np.corrcoef(decoded, original)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("riff", "data"), [(0, 0), (36, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000), (0x80000024, 0x80000000)]
)
def test_wav_of_a_streaming_writer_decodes(speech: Callable[[str], Path], riff: int, data: int) -> None:
    path = speech("a.wav")
    whole = decode(path, RATE)
    content = bytearray(path.read_bytes())
    content[4:8], content[40:44] = struct.pack("<I", riff), struct.pack("<I", data)
    path.write_bytes(content)
    assert np.array_equal(decode(path, RATE), whole)


def test_truncation_of_a_big_endian_wav_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, band_limited(0.1, RATE), RATE, endian="BIG")
    assert path.read_bytes().startswith(b"RIFX")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(AudioError, match=f"^{path}: is truncated"):
        decode(path, RATE)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_a_file_shorter_than_its_header_declares_is_refused(speech: Callable[[str], Path], name: str) -> None:
    path = speech(name)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(AudioError, match=f"^{path}: is truncated"):
        decode(path, RATE)


@pytest.mark.parametrize("keep", [0.3, 0.99])
def test_flac_that_ends_early_is_refused(speech: Callable[[str], Path], keep: float) -> None:
    path = speech("a.flac")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(AudioError, match=f"^{path}: is truncated"):
        decode(path, RATE)


def test_flac_that_is_damaged_midway_is_refused(speech: Callable[[str], Path]) -> None:
    path = speech("a.flac")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 500] = bytes(500)
    path.write_bytes(content)
    with pytest.raises(AudioError, match=f"^{path}: is truncated or damaged"):
        decode(path, RATE)


def test_flac_of_unknown_length_is_refused(speech: Callable[[str], Path]) -> None:
    path = speech("a.flac")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="does not declare its length"):
        decode(path, RATE)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"<html><body>404 Not Found</body></html>", "is an HTML page, not audio"),
        (b"RIFF\x00\x00\x00\x00WAVE", "is not audio"),
        (b"RIFF", "is not audio"),
        (b"fLaC", "is not audio"),
        (b"FORM", "is not audio"),
        (b"OggS", "is truncated"),
    ],
)
def test_a_file_that_is_not_audio_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=f"^{path}: .*{message}"):
        decode(path, RATE)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "holds no samples"),
        ([0.0, 0.0, 0.0], "digital silence"),
        ([0.1, np.nan, 0.1], "NaN or infinite"),
        ([0.1, -np.inf, 0.1], "NaN or infinite"),
    ],
)
def test_useless_samples_are_refused(tmp_path: Path, samples: list[float], message: str) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, np.array(samples, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=f"^{path}: .*{message}"):
        decode(path, RATE)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="Is a pipe or a device"):
        decode(tmp_path / "a.wav", RATE)
    assert content_digests([tmp_path / "a.wav"]) == ["unreadable: Is a pipe or a device"]


@pytest.mark.parametrize("form", ["CAF", "AU", "W64", "RF64", "NIST"])
def test_formats_without_header_checks_are_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, band_limited(0.1, RATE), RATE, format=form, subtype="PCM_16")
    with pytest.raises(AudioError, match=f"^{path}: is {form} audio; convert it to WAV or FLAC"):
        decode(path, RATE)


def test_samples_far_above_full_scale_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, 30_000 * band_limited(0.1, RATE), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=f"^{path}: holds samples of up to .*, full scale is 1"):
        decode(path, RATE)


def test_an_implausible_sample_rate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, band_limited(0.1, RATE), 1)
    with pytest.raises(AudioError, match=f"^{path}: its header is damaged, it declares 1 Hz"):
        decode(path, RATE)


def test_less_than_one_sample_after_resampling_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, np.array([0.5]), 48_000)
    with pytest.raises(AudioError, match=f"^{path}: is too short, 1 samples at 48000 Hz"):
        decode(path, RATE)


def test_a_long_compressed_file_equals_one_read_in_one_call(shared_corpora: Path) -> None:
    path = shared_corpora / "raw_quirks" / "394290__epicwizard__bar-crowd-in-belgrade.mp3"
    at_once, rate = sf.read(path, dtype="float32")
    assert at_once.size > 4 << 20
    assert np.array_equal(decode(path, rate), at_once.mean(axis=1))


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="No such file"):
        decode(tmp_path / "none.wav", RATE)
    with pytest.raises(AudioError, match="Is a directory"):
        decode(tmp_path, RATE)


def test_decode_all_keeps_the_order_and_yields_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(100, 3_000, 40)
    paths = [tmp_path / f"{i}.wav" for i in range(40)]
    for path, length in zip(paths, lengths, strict=True):
        sf.write(path, rng.uniform(-1, 1, length), RATE)
    paths[7].write_bytes(b"")
    decoded = [one.result for one in decode_all(paths, RATE, threads=3)]
    assert isinstance(decoded[7], AudioError)
    assert [len(d) for d in decoded if not isinstance(d, AudioError)] == [n for i, n in enumerate(lengths) if i != 7]


@pytest.mark.parametrize("size", [1_000, 1 << 20])
def test_decode_all_decodes_a_bounded_number_of_files_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The header declares another sample rate, so that threads decode short files too."""
    started = []
    monkeypatch.setattr(
        "fastser.data.decoding.decode_streams", lambda path, *_: started.append(path) or np.ones(1, np.float32)
    )
    sf.write(tmp_path / "0", np.ones(size // 2), 2 * RATE, format="WAV")
    stream = decode_all(100 * [tmp_path / "0"], RATE, threads=2)
    for taken in range(1, 20):
        next(stream)
        assert len(started) <= taken + 4
    stream.close()
    assert len(started) < 30
