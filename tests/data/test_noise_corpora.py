"""Readers of noise: DEMAND in all its layouts, and folders of scenes."""

import zipfile
from collections import Counter
from pathlib import Path

import pytest
import soundfile as sf
from corpus_trees import touch, write_noise

from fastser.data.corpora import CorpusError, demand, read_noise

ENVIRONMENTS = ("DKITCHEN", "NPARK", "PSTATION", "STRAFFIC", "PCAFETER")


@pytest.mark.fast
@pytest.mark.parametrize(("layout", "suffix"), [("{0}", ".wav"), ("{0}_16k/{0}", ".flac"), ("{0}_16k", ".wav")])
def test_demand_folders(tmp_path: Path, layout: str, suffix: str) -> None:
    for environment in ENVIRONMENTS:
        for channel in ("ch01", "ch02"):
            write_noise(tmp_path / layout.format(environment) / (channel + suffix), 16_000)
    noise = read_noise("demand", tmp_path)
    assert noise.scenes == ("cafeteria", "kitchen", "park", "station", "traffic")
    assert noise.warnings == ()
    assert noise.summary == "DEMAND: 5 of 5 scenes"
    for recording in noise.recordings:
        assert recording.path.name == f"ch01{suffix}"
        assert demand.SCENES[recording.scene][0] in str(recording.path)


def test_demand_zip_is_unpacked_once_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTSER_CACHE", str(tmp_path / "cache"))
    write_noise(tmp_path / "noise.wav", 16_000)
    with zipfile.ZipFile(tmp_path / "DKITCHEN_16k.zip", "w") as archive:
        archive.write(tmp_path / "noise.wav", "DKITCHEN/ch01.wav")
        archive.writestr("DKITCHEN/ch02.wav", b"other")
    noise = read_noise("demand", tmp_path)
    (recording,) = noise.recordings
    assert recording.path.is_relative_to(tmp_path / "cache")
    assert recording.path.read_bytes() == (tmp_path / "noise.wav").read_bytes()
    assert len(noise.warnings) == 4
    assert any("the scene park is missing; looked for NPARK" in warning for warning in noise.warnings)
    written = recording.path.stat().st_mtime_ns
    assert read_noise("demand", tmp_path).recordings == noise.recordings
    assert recording.path.stat().st_mtime_ns == written
    assert [file.name for file in (tmp_path / "cache").rglob("*") if file.is_file()] == ["ch01.wav"]


@pytest.mark.parametrize("low", ["DKITCHEN_16k/DKITCHEN/ch01.wav", "DKITCHEN_16k/ch01.wav"])
def test_demand_prefers_16_khz_according_to_the_header(tmp_path: Path, low: str) -> None:
    write_noise(tmp_path / "DKITCHEN" / "ch01.wav", 48_000)
    write_noise(tmp_path / "DKITCHEN_48k" / "DKITCHEN" / "ch01.wav", 48_000)
    assert sf.info(read_noise("demand", tmp_path).recordings[0].path).samplerate == 48_000
    write_noise(tmp_path / low, 16_000)
    assert read_noise("demand", tmp_path).recordings[0].path == tmp_path / low


def test_demand_takes_the_cafe_if_the_cafeteria_is_missing(tmp_path: Path) -> None:
    write_noise(tmp_path / "SCAFE" / "ch01.wav", 48_000)
    noise = read_noise("demand", tmp_path)
    assert noise.scenes == ("cafeteria",)
    assert any("PCAFETER is missing; SCAFE stands for the scene cafeteria" in warning for warning in noise.warnings)
    write_noise(tmp_path / "PCAFETER" / "ch01.wav", 16_000)
    touch(tmp_path / "SCAFE_48k.zip")
    noise = read_noise("demand", tmp_path)
    assert noise.recordings[0].path.parent.name == "PCAFETER"
    assert not any("SCAFE stands" in warning for warning in noise.warnings)


def test_unusable_demand(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"^{tmp_path}: is not DEMAND; looked for PCAFETER, DKITCHEN"):
        read_noise("demand", tmp_path)
    (tmp_path / "NPARK_16k.zip").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(CorpusError, match=r"NPARK_16k.zip: is not a whole zip file"):
        read_noise("demand", tmp_path)
    touch(tmp_path / "DKITCHEN" / "ch01.wav")
    with pytest.raises(CorpusError, match=r"DKITCHEN/ch01.wav: is an empty file"):
        read_noise("demand", tmp_path)


def test_noise_folder_scenes(tmp_path: Path) -> None:
    root = tmp_path / "city"
    touch(
        root / "bus" / "1.wav",
        root / "bus" / "deep" / "2.mp3",
        root / "hall" / "3.flac",
        root / "4.ogg",
        root / "t.txt",
    )
    touch(root / "bus" / "._1.wav")
    noise = read_noise("folder", root)
    assert Counter(r.scene for r in noise.recordings) == {"bus": 2, "hall": 1, "city": 1}
    assert (noise.title, noise.path) == ("city", root)
    assert noise.summary == "city: 4 noise recordings of 3 scenes"
    (root / "SYNTHETIC.txt").touch()
    generated = "synthetic city: 4 noise recordings of 3 scenes; generated, not recorded"
    assert read_noise("folder", root).summary == generated
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"empty: holds no noise; looked for SCENE/\*.wav"):
        read_noise("folder", tmp_path / "empty")


def test_real_noise_folder_has_the_five_scenes(shared_corpora: Path) -> None:
    noise = read_noise("folder", shared_corpora / "noise_env")
    assert noise.scenes == ("cafeteria", "kitchen", "park", "station", "traffic")
    assert len(noise.recordings) == 14


@pytest.mark.parametrize(("offset", "value", "message"), [(8, 1, "encrypted"), (10, 9, "compression")])
def test_demand_archive_that_zipfile_cannot_unpack(tmp_path: Path, offset: int, value: int, message: str) -> None:
    archive = tmp_path / "NPARK_16k.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("NPARK/ch01.wav", "samples")
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + offset] = value
    content[offset - 2] = value
    archive.write_bytes(content)
    with pytest.raises(CorpusError, match=f"^{archive}: cannot be unpacked .*{message}"):
        read_noise("demand", tmp_path)


def test_demand_archive_whose_entry_lies_before_the_file(tmp_path: Path) -> None:
    archive = tmp_path / "NPARK_16k.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("NPARK/ch01.wav", "samples")
    content = bytearray(archive.read_bytes())
    content[-6:-2] = b"\x00\x10\x00\x00"  # where the central directory begins
    archive.write_bytes(content)
    with pytest.raises(CorpusError, match=f"^{archive}: is not a whole zip file"):
        read_noise("demand", tmp_path)
