"""Sentences about files and manifests are true, name every fault, and stay few where many files have the same one."""

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
from corpus_trees import touch, write_lines

from fastser.data import prepare
from fastser.data.audio import AudioError, decode
from fastser.data.corpora import READERS, Corpus, CorpusError, Reader, Utterance, read_corpus, read_noise
from fastser.settings import PAPER

RATE = 16_000


def tone(length: int = RATE) -> npt.NDArray[np.float64]:
    return 0.4 * np.sin(np.arange(length) / 5)


def refused(path: Path, content: npt.NDArray[np.float64] | bytes) -> str:
    """Return the sentence that refuses a file, without the path."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        sf.write(path, content, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=f"^{path}: ") as caught:
        decode(path, RATE)
    return caught.value.reason


@pytest.mark.parametrize("share", [1.0, 0.999, 0.99, 0.98])
@pytest.mark.parametrize("offset", [0.0, 0.01])
def test_channels_that_cancel_are_named_so(tmp_path: Path, share: float, offset: float) -> None:
    """The mean of the channels is 40 dB or more below each of them, with and without a constant offset."""
    sentence = refused(tmp_path / "a.wav", np.stack([tone() + offset, offset - share * tone()], axis=1))
    assert sentence.startswith("its 2 channels cancel")
    assert "every sample is zero" not in sentence
    level = re.search(r"(\d+) dB below", sentence)
    assert (level is None) == (share == 1.0)
    assert level is None or abs(int(level[1]) + 20 * np.log10((1 - share) / 2)) <= 1


def test_more_than_two_channels_that_cancel_are_named_so(tmp_path: Path) -> None:
    thirds = [np.sin(np.arange(RATE) / 5 + 2 * np.pi * k / 3) * 0.3 for k in range(3)]
    assert refused(tmp_path / "a.wav", np.stack(thirds, axis=1)).startswith("its 3 channels cancel")
    four = np.stack([tone(), -tone(), tone(), -tone()], axis=1)
    assert refused(tmp_path / "a.wav", four).startswith("its 4 channels cancel")


@pytest.mark.parametrize(
    "channels",
    [
        lambda noise: [tone(), 0 * tone()],
        lambda noise: [tone(), 0.001 * noise],
        lambda noise: [tone(), noise],
        lambda noise: [tone() + 0.1 * noise, 0.1 * noise - 0.5 * tone()],
        lambda noise: [tone(), *([0 * tone()] * 15)],
        lambda noise: [0.1 + 0 * tone(), 0.1 + 0 * tone()],
    ],
)
def test_channels_that_do_not_cancel_are_averaged(
    tmp_path: Path, channels: Callable[[npt.NDArray[np.float64]], list[npt.NDArray[np.float64]]]
) -> None:
    frames = np.stack(channels(0.1 * np.random.default_rng(0).standard_normal(RATE)), axis=1).astype(np.float32)
    sf.write(tmp_path / "a.wav", frames, RATE, subtype="FLOAT")
    np.testing.assert_allclose(decode(tmp_path / "a.wav", RATE), frames.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("channels", [1, 2])
def test_silence_is_called_silence(tmp_path: Path, channels: int) -> None:
    assert refused(tmp_path / "a.wav", np.zeros((RATE, channels))) == "is digital silence, every sample is zero"


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"b")
    return stream.getvalue()


NO_AUDIO = {
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "git-lfs pointer, not audio: run",
    ),
    "empty": (b"", "is an empty file"),
    "page": (b"\n<!DOCTYPE html>\n<html><head><title>404</title></head>", "is an HTML page, not audio"),
    "old page": (b"<!-- generated --><HTML><BODY>No such file</BODY>", "is an HTML page, not audio"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a text file, not audio"),
    "JSON": (b'{"message": "Not Found", "status": "404"}', "is a text file, not audio"),
    "text": ("Übung: kein Ton, nur Text".encode(), "is a text file, not audio; it begins with 'Übung"),
    "UTF-16": ("no sound, only text".encode("utf-16"), "is a text file, not audio"),
    "long text": ("ä".encode() * 2_000, "is a text file, not audio"),
    "zip": (zipped(), "is a zip file"),
    "MP4": (b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(range(256)), "is an MP4 or M4A file; convert it"),
    "AMR": (b"#!AMR\n" + bytes(range(256)), "is AMR audio; convert it"),
    "WebM": (b"\x1aE\xdf\xa3" + bytes(range(256)), "is a Matroska or WebM file; convert it"),
    "zeros": (bytes(4_000), "zero bytes only"),
    "noise": (np.random.default_rng(3).bytes(4_000), "is not audio, or its header is damaged"),
}


@pytest.mark.parametrize("kind", NO_AUDIO)
def test_a_file_without_audio_is_called_what_it_is(tmp_path: Path, kind: str) -> None:
    content, sentence = NO_AUDIO[kind]
    found = refused(tmp_path / "a.wav", content)
    assert sentence in found
    assert "\n" not in found


@pytest.mark.parametrize("kind", ["pointer", "page", "empty"])
def test_readers_that_open_files_call_them_what_they_are(tmp_path: Path, kind: str) -> None:
    content, sentence = NO_AUDIO[kind]
    touch(tmp_path / "NPARK" / "ch01.wav")
    (tmp_path / "NPARK" / "ch01.wav").write_bytes(content)
    with pytest.raises(CorpusError, match=f"ch01.wav: .*{re.escape(sentence)}"):
        read_noise("demand", tmp_path)
    (tmp_path / "NPARK" / "ch01.wav").unlink()
    (tmp_path / "NPARK_16k.zip").write_bytes(content)
    with pytest.raises(CorpusError, match=r"NPARK_16k.zip: is not a whole zip file") as caught:
        read_noise("demand", tmp_path)
    assert kind == "empty" or sentence.split(",")[0] in str(caught.value)
    (tmp_path / "my.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=r"my.csv") as caught:
        read_corpus("manifest", tmp_path / "my.csv")
    assert kind == "empty" or sentence.split(",")[0] in str(caught.value)


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[[Sequence[str] | bytes], str]:
    """Return the message that refuses a manifest beside two recordings, without its path."""
    touch(tmp_path / "a.wav", tmp_path / "b.wav")

    def refuse(lines: Sequence[str] | bytes) -> str:
        path = tmp_path / "my.csv"
        if isinstance(lines, bytes):
            path.write_bytes(lines)
        else:
            write_lines(path, lines)
        with pytest.raises(CorpusError, match=f"^{path}") as caught:
            read_corpus("manifest", path, classes=None)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(str(path))

    return refuse


def test_all_faults_of_a_manifest_are_in_one_message(manifest: Callable[[Sequence[str]], str]) -> None:
    message = manifest(
        [
            "path,speaker,emotion,split",
            "a.wav,ann,sad,train",
            "b.wav,,happy,dev",
            "a.wav,bob,happy,test",
            "b.wav,cat",
            "lost.wav,dan,,test",
            "gone.wav,dan,sad,eval",
        ]
    )
    assert message.startswith(": 8 faults: ")
    accepted = "it must be one of train, validation, test"
    for fault in (
        "line 3: speaker is empty",
        f"line 3: split is 'dev'; {accepted}",
        "line 4: has a.wav more than once, first in line 2",
        "line 5: 2 cells, not 4 as in the header",
        "line 6: emotion is empty",
        f"line 7: split is 'eval'; {accepted}",
        "line 6: there is no file lost.wav",
        "line 7: there is no file gone.wav",
    ):
        assert fault in message


def test_of_many_faults_the_first_ten_are_shown_and_all_are_counted(manifest: Callable[[Sequence[str]], str]) -> None:
    message = manifest(["path,speaker,emotion,split", *(f"{i}.wav,ann,sad,dev" for i in range(2, 40))])
    assert message.startswith(": 76 faults: line 2: ")
    assert "line 11: split is 'dev'" in message
    assert "line 12" not in message
    assert message.endswith("; and 66 more")


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_another_separator_is_named_with_all_other_faults(
    manifest: Callable[[Sequence[str]], str], separator: str, name: str
) -> None:
    rows = [
        ["path", "speaker", "emotion", "split"],
        ["a.wav", "ann", "sad, or so", "dev"],
        ["lost.wav", "bob", "sad", ""],
    ]
    message = manifest([separator.join(row) for row in rows])
    assert f"line 1: the cells are separated by {name}, they must be separated by commas" in message
    assert "line 2: split is 'dev'" in message
    assert "line 3: there is no file lost.wav" in message
    assert "column" not in message


def test_all_missing_and_doubled_columns_are_named(manifest: Callable[[Sequence[str]], str]) -> None:
    message = manifest(["file,speaker,speaker,split,split", "a.wav,ann,ann,dev,test"])
    assert "line 1: has no columns path, emotion; it has file, speaker, speaker, split, split" in message
    assert "line 1: must have each of the columns speaker, split once; it has file, speaker" in message


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("path,speaker,emotion\na.wav,ann,sad\n".encode("utf-16"), "in UTF-16; save it as UTF-8"),
        (
            "path,speaker,emotion\na.wav,ann,sad\n".encode("utf-16-le"),
            ", line 1: holds a zero byte, as files in UTF-16",
        ),
        (b"path,speaker,emotion\na.wav,ann,sa\0d\n", ", line 2: holds a zero byte"),
        (
            "path,speaker,emotion\na.wav,Jos\u00e9,sad\n".encode("latin-1"),
            ", line 2: is not a CSV file in UTF-8 (byte 0xe9)",
        ),
        (b'path,speaker,emotion\na.wav,"ann,sad\n', "is not a CSV file"),
        (zipped(), "is a zip file"),
    ],
)
def test_a_manifest_in_another_form_is_called_what_it_is(
    manifest: Callable[[bytes], str], content: bytes, sentence: str
) -> None:
    assert sentence in manifest(content)


def test_a_name_too_long_for_any_file_is_a_missing_file(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "b.wav")
    write_lines(tmp_path / "my.csv", ["path,speaker,emotion", "a.wav,a,sad", "b.wav,b,happy", f"{'x' * 5_000},c,sad"])
    corpus = read_corpus("manifest", tmp_path / "my.csv", None)
    assert len(corpus.utterances) == 2
    assert len(corpus.without_audio) == 1


def write_manifest(folder: Path, present: int, missing: int) -> Path:
    rows = ["path,speaker,emotion"]
    for i in range(present + missing):
        if i < present:
            sf.write(folder / f"{i:03}.wav", 0.1 * np.random.default_rng(i).standard_normal(4_000), RATE)
        rows.append(f"{i:03}.wav,{'abc'[i % 3]},{('sad', 'happy')[i % 2]}")
    write_lines(folder / "my.csv", rows)
    return folder / "my.csv"


def test_a_manifest_without_a_quarter_of_its_files_stops(tmp_path: Path, cache: Path) -> None:
    corpus = read_corpus("manifest", write_manifest(tmp_path, 30, 10), None)
    with pytest.raises(CorpusError, match=r"^my.csv: 10 of 40 files missing, first 030.wav; --allow-bad-files"):
        prepare(corpus, PAPER)
    assert len(prepare(corpus, PAPER, allow_bad_files=True).corpus.utterances) == 30


def test_missing_and_unusable_files_count_together(tmp_path: Path, cache: Path) -> None:
    manifest = write_manifest(tmp_path, 38, 2)
    corpus = read_corpus("manifest", manifest, None)
    assert prepare(corpus, PAPER).skipped == 0
    (tmp_path / "000.wav").write_bytes(b"")
    message = r"1 of 40 files unusable, first .*000.wav: is an empty file and 2 of 40 files missing, first 038.wav"
    with pytest.raises(CorpusError, match=message):
        prepare(corpus, PAPER)
    dataset = prepare(corpus, PAPER, allow_bad_files=True)
    assert dataset.skipped == 1


def test_the_rule_holds_for_every_reader_without_published_counts(tmp_path: Path, cache: Path) -> None:
    write_manifest(tmp_path, 12, 0)
    files = sorted(tmp_path.glob("*.wav"))
    utterances = tuple(Utterance(f.stem, f, "abc"[i % 3], ("sad", "happy")[i % 2]) for i, f in enumerate(files))

    def read(path: Path) -> Corpus:
        return Corpus("mine", "Mine", path, utterances, without_audio=(("x", "sad"), ("y", "happy"), ("z", "sad")))

    with READERS.including(Reader("mine", read)):
        corpus = read_corpus("mine", tmp_path, None)
    with pytest.raises(CorpusError, match="Mine: 3 of 15 files missing, first x; --allow-bad-files goes on"):
        prepare(corpus, PAPER)


def test_many_unusable_files_are_one_warning(tmp_path: Path, cache: Path) -> None:
    corpus = read_corpus("manifest", write_manifest(tmp_path, 100, 0), None)
    for count in (3, 83):
        for i in range(count):
            (tmp_path / f"{i:03}.wav").write_bytes(b"")
        dataset = prepare(corpus, PAPER, allow_bad_files=True)
        assert dataset.skipped == count
        assert len(dataset.warnings) == (3 if count == 3 else 1)
    (warning,) = dataset.warnings
    assert warning.startswith("my.csv: 83 unusable files are skipped: ")
    assert warning.count("is an empty file") == 3
    assert warning.endswith("; and 80 more")
