"""The command that writes a manifest from file names."""

from pathlib import Path

import pytest
from corpus_trees import touch

from fastser.cli.manifest_options import ManifestOptions
from fastser.data.corpora import CorpusError, read_corpus
from fastser.data.corpora.name_pattern import NamePattern
from fastser.manifest import manifest

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("{speaker}_{emotion}_*.wav", "a/ann_happy_1_b.wav", {"speaker": "ann", "emotion": "happy"}),
        ("{speaker}_{emotion}_*.wav", "ann_happy.wav", None),
        ("{speaker}/{emotion}-??.wav", "x/ann lee/very_sad-01.wav", {"speaker": "ann lee", "emotion": "very_sad"}),
        ("{speaker}_{emotion}_{text}.wav", "b_happy_s01.wav", {"speaker": "b", "emotion": "happy", "text": "s01"}),
        ("{split}/{session}/{speaker}.{emotion}.*", "train/1/a.sad.wav", dict(zip(
            ("split", "session", "speaker", "emotion"), ("train", "1", "a", "sad"), strict=True))),
    ],
)  # fmt: skip
def test_patterns(pattern: str, path: str, fields: dict[str, str] | None) -> None:
    assert NamePattern.parse(pattern).match(path) == fields


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("{speaker}_*.wav", "has no {emotion}"),
        ("{speaker}_{emotion}_{speaker}", "has {speaker} more than once"),
        ("{speaker}_{emotion}_{take}", "there is no field {take}"),
        ("{speaker}_{emotion", "a brace is open"),
        ("{speaker}{emotion}.wav", "can be read as speaker 'a', emotion 'nn-sad' and as speaker 'ann-sa', emotion 'd'"),
        ("*{speaker}-{emotion}.wav", "can be read as speaker 'ann', emotion 'sad' and as speaker 'n'"),
    ],
)
def test_patterns_that_are_refused(pattern: str, part: str) -> None:
    with pytest.raises(CorpusError) as refusal:
        NamePattern.parse(pattern).match("ann-sad.wav")
    assert part in str(refusal.value)


def test_a_manifest_is_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(
        *(tmp_path / "audio" / f"{name}.wav" for name in ("ann_ANG_1", "ann_sad_2", "bob_ANG_1", "bob_joy_2", "readme"))
    )
    out = tmp_path / "new" / "manifest.csv"
    options = ManifestOptions(
        folder=tmp_path / "audio", pattern="{speaker}_{emotion}_*.wav", map=("ANG=angry",), out=tmp_path / "m.csv"
    )
    assert manifest(options) == 0
    printed = capsys.readouterr().out
    for line in (
        "4 of 5 audio files match",
        "for example ann_ANG_1.wav: speaker ann, emotion angry",
        "speaker: 2 different, ann (2), bob (2)",
        "labels: ANG -> angry, joy -> happy",
        "warning: 1 name without a match left out: readme.wav",
    ):
        assert line in printed
    assert (tmp_path / "m.csv").read_text().splitlines()[:2] == [
        "path,speaker,emotion",
        "audio/ann_ANG_1.wav,ann,angry",
    ]
    assert read_corpus("manifest", tmp_path / "m.csv", None).class_counts() == {"angry": 2, "happy": 1, "sad": 1}
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (
            {"pattern": "{speaker}_{emotion}.wav"},
            "the files are ann-sad.wav. A field ends at the punctuation mark after it. Put * for the rest",
        ),
        (
            {"pattern": "{speaker}-{emotion}.wav", "map": ("FEA=fearful",)},
            "no file has this emotion; the names have sad",
        ),
        ({"pattern": "{speaker}-{emotion}.wav", "map": ("sad",)}, "expected NAME=LABEL"),
        ({"pattern": None}, "give --pattern"),
        ({"folder": None}, "give FOLDER"),
        ({"out": Path("/proc/nowhere/m.csv")}, "--out /proc/nowhere/m.csv cannot be written: "),
        ({"folder": "empty"}, "holds no audio files (.wav, .flac, .ogg, "),
    ],
)
def test_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, object], part: str
) -> None:
    touch(tmp_path / "a" / "ann-sad.wav")
    (tmp_path / "empty").mkdir()
    given = {"folder": "a", "pattern": "{speaker}-{emotion}.wav", "out": tmp_path / "m.csv"} | options
    given["folder"] = given["folder"] and tmp_path / str(given["folder"])
    assert manifest(ManifestOptions(**given)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert part in error
    assert not (tmp_path / "m.csv").exists()


def test_another_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path / "a" / "ann-sad.wav")
    options = ManifestOptions(folder=tmp_path / "a", pattern="{speaker}-{emotion}.wav", out=tmp_path / "m.csv")
    assert [manifest(options), manifest(options)] == [0, 0]
    (tmp_path / "m.csv").write_text("notes")
    assert manifest(options) == 2
    assert "m.csv: exists, and is another file than this manifest" in capsys.readouterr().err
    assert (tmp_path / "m.csv").read_text() == "notes"


def test_audio_of_every_format_is_found(tmp_path: Path) -> None:
    for name in ("ann-sad.wav", "bob-sad.MP3", "cem-sad.opus", "dan-sad.aiff", "notes-sad.txt"):
        touch(tmp_path / "a" / name)
    pattern = "{speaker}-{emotion}.*"
    assert manifest(ManifestOptions(folder=tmp_path / "a", pattern=pattern, out=tmp_path / "m.csv")) == 0
    lines = (tmp_path / "m.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "a/ann-sad.wav",
        "a/bob-sad.MP3",
        "a/cem-sad.opus",
        "a/dan-sad.aiff",
    ]
