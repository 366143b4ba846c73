"""Cached files that no longer hold what was written are found and made again, with one warning that names the file."""

import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from fastser.data import cached_arrays
from fastser.data.corpora import read_noise
from fastser.data.corpora.synthetic import generate, layouts
from fastser.data.packed_audio import PackedWaveforms, pack
from fastser.data.segments import SegmentBank, build_bank
from fastser.settings import PAPER

RATE = 16_000


@pytest.fixture
def files(tmp_path: Path, cache: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.wav" for i in range(3)]
    for i, path in enumerate(paths):
        sf.write(path, np.random.default_rng(i).uniform(-0.5, 0.5, 8_000 + i), RATE)
    return paths


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that forgets what this process has verified, as a new process would."""

    def forget() -> None:
        monkeypatch.setattr(cached_arrays, "_verified", set())

    forget()
    return forget


def bank_of(packed: PackedWaveforms) -> SegmentBank:
    return build_bank(packed, PAPER.spectrogram, RATE)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 12_345, -1])
@pytest.mark.parametrize("kind", ["waveforms", "frames"])
def test_a_changed_bit_in_an_array_is_found_and_mended(
    files: list[Path], cache: Path, caplog: pytest.LogCaptureFixture, kind: str, place: int
) -> None:
    packed = pack(files, RATE)
    samples, frames = np.array(packed.samples), bank_of(packed).frames.clone()
    (damaged,) = cache.glob(f"{kind}-*.f32")
    flip(damaged, place)
    again = pack(files, RATE)
    np.testing.assert_array_equal(again.samples, samples)
    assert bank_of(again).frames.equal(frames)
    assert [record.getMessage() for record in caplog.records] == [f"{damaged} is damaged; it is made again"]
    caplog.clear()
    bank_of(pack(files, RATE))
    assert caplog.records == []


def test_a_cache_with_many_unusable_files_is_read_again_without_a_warning(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """JSON sorts the numbers of files as texts: "10" comes before "2"."""
    paths = [tmp_path / f"{i}.wav" for i in range(12)]
    for i, path in enumerate(paths):
        sf.write(path, np.random.default_rng(i).uniform(-0.5, 0.5, 8_000), RATE)
    for i in (2, 10):
        paths[i].write_bytes(b"no audio")
    decoded: list[None] = []
    first, second = (pack(paths, RATE, on_file=lambda: decoded.append(None)) for _ in range(2))
    assert len(decoded) == len(paths)
    assert first.bad == second.bad
    assert sorted(second.bad) == [2, 10]
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["waveforms", "frames"])
def test_a_changed_number_in_an_index_is_found_and_mended(
    files: list[Path], cache: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    bank = bank_of(pack(files, RATE))
    (damaged,) = cache.glob(f"{kind}-*.json")
    record = json.loads(damaged.read_text())
    if kind == "waveforms":
        record["values"]["offsets"][1] += 5
    else:
        record["values"]["sums"][0][1] += 5
    damaged.write_text(json.dumps(record))
    assert bank_of(pack(files, RATE)).sums.equal(bank.sums)
    assert [record.getMessage() for record in caplog.records] == [f"{damaged} is damaged; it is made again"]


@pytest.mark.parametrize("kind", ["waveforms", "frames"])
def test_files_of_an_older_format_are_made_again_without_a_word(
    files: list[Path], cache: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    frames = bank_of(pack(files, RATE)).frames.clone()
    (index,) = cache.glob(f"{kind}-*.json")
    index.write_text(json.dumps(json.loads(index.read_text())["values"]))
    (data,) = cache.glob(f"{kind}-*.f32")
    flip(data, 100)
    assert bank_of(pack(files, RATE)).frames.equal(frames)
    assert caplog.records == []


def test_an_array_is_verified_once_in_a_process_and_again_when_it_was_written(
    files: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch, another_process: Callable[[], None]
) -> None:
    read: list[Path] = []
    checksum = cached_arrays._checksum
    monkeypatch.setattr(cached_arrays, "_checksum", lambda path: (read.append(path), checksum(path))[1])
    pack(files, RATE)
    for _ in range(3):
        pack(files, RATE)
    assert len(read) == 1
    another_process()
    pack(files, RATE)
    assert len(read) == 2


def test_a_changed_stand_in_is_found_and_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "NOISE_SECONDS", 2)
    stand_ins = generate(tmp_path, utterances_per_class=1)
    recording = next(stand_ins.iemocap.rglob("*.wav"))
    content = recording.read_bytes()
    flip(recording, 2_000)
    assert generate(tmp_path, utterances_per_class=1) == stand_ins
    assert recording.read_bytes() == content
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].startswith(f"{recording} is missing or damaged")
    label_file = stand_ins.msp_improv / "Evalution.txt"
    label_file.unlink()
    generate(tmp_path, utterances_per_class=1)
    assert label_file.is_file()
    assert caplog.messages[1].startswith(f"{label_file} is missing or damaged")
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_changed_unpacked_recording_is_found_and_mended(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sf.write(tmp_path / "ch01.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 1_000), RATE)
    with zipfile.ZipFile(tmp_path / "NPARK_16k.zip", "w") as archive:
        archive.write(tmp_path / "ch01.wav", "NPARK/ch01.wav")
    (recording,) = read_noise("demand", tmp_path).recordings
    flip(recording.path, 500)
    assert read_noise("demand", tmp_path).recordings == (recording,)
    assert recording.path.read_bytes() == (tmp_path / "ch01.wav").read_bytes()
    assert caplog.messages == [f"{recording.path} is damaged; it is unpacked again"]
