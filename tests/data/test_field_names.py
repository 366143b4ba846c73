"""Names of files, folders, speakers, labels and homes, however they are spelled."""

import csv
import os
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from corpus_trees import iemocap_tree, msp_improv_lines, touch, write_lines

from fastser.data import prepare, prepare_noise
from fastser.data.audio import AudioError, decode
from fastser.data.corpora import (
    Corpus,
    CorpusError,
    NoiseRecording,
    Utterance,
    distinct_titles,
    read_corpus,
    read_noise,
)
from fastser.data.corpora.canonical import canonical_emotion
from fastser.data.corpora.names import look_alikes, plain_name
from fastser.data.noise import draw_noise
from fastser.experiment.folds import folds
from fastser.runtime.files import cache_dir, expanded, printable, storable
from fastser.settings import PAPER, Settings

RATE = 16_000
EMOTIONS = ("angry", "happy", "neutral", "sad")
NOT_UTF8 = os.fsdecode(b"caf\xe9")
HIDDEN = (
    *(".AppleDouble", ".Trashes", ".ipynb_checkpoints", ".git", ".snapshot", ".svn"),
    *("@eaDir", "__MACOSX", "lost+found", "#recycle", "$RECYCLE.BIN", "System Volume Information"),
)


def write_audio(path: Path, seed: int = 0, seconds: float = 0.2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        samples = 0.1 * np.random.default_rng(seed).standard_normal(round(RATE * seconds))
        sf.write(stream, samples, RATE, format="WAV")
    return path


def manifest_of(folder: Path, speakers: Sequence[str], emotions: Sequence[str] = EMOTIONS) -> Path:
    """Write a manifest with one recording of each emotion by each speaker."""
    rows = [("path", "speaker", "emotion")]
    for speaker in speakers:
        for emotion in emotions:
            name = f"{len(rows)}.wav"
            write_audio(folder / name, len(rows))
            rows.append((name, speaker, emotion))
    with (folder / "my.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return folder / "my.csv"


def with_scenes(*scenes: str) -> Settings:
    return PAPER.model_copy(update={"noise": PAPER.noise.model_copy(update={"scenes": scenes})})


SPELLINGS = {
    "decomposed": ("José", unicodedata.normalize("NFD", "José")),
    "composed Korean": ("김", unicodedata.normalize("NFD", "김")),
    "zero-width space": ("Ann", "A\u200bnn"),
    "zero-width joiner": ("Ann", "Ann\u200d"),
    "byte-order mark": ("Ann", "\ufeffAnn"),
    "soft hyphen": ("Annmarie", "Ann\u00admarie"),
    "left-to-right mark": ("Ann", "Ann\u200e"),
    "no-break space": ("Ann Lee", "Ann\u00a0Lee"),
    "narrow space": ("Ann Lee", "Ann\u202fLee"),
    "ideographic space": ("Ann Lee", "Ann\u3000Lee"),
    "two spaces": ("Ann Lee", "Ann  Lee"),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_spellings_of_one_speaker_are_one_speaker(tmp_path: Path, kind: str) -> None:
    one, two = SPELLINGS[kind]
    corpus = read_corpus("manifest", manifest_of(tmp_path, ["A", one, two, "Z"]))
    assert corpus.speakers == tuple(sorted(("A", plain_name(one), "Z")))
    assert len(corpus.utterances) == 16
    for fold in folds(corpus):
        sides = [{corpus.utterances[i].speaker for i in part} for part in (fold.train, fold.validation, fold.test)]
        assert not sides[0] & sides[2]
        assert not sides[0] & sides[1]
    assert corpus.warnings == ()


@pytest.mark.parametrize("kind", SPELLINGS)
def test_spellings_of_one_label_session_and_scene_are_one(tmp_path: Path, cache: Path, kind: str) -> None:
    one, two = SPELLINGS[kind]
    assert canonical_emotion(one) == canonical_emotion(two)
    utterances = [Utterance(name, Path(name), "ann", name, session=name) for name in (one, two)]
    assert len({(u.emotion, u.session) for u in utterances}) == 1
    assert NoiseRecording(one, Path("a")) == NoiseRecording(two, Path("a"))
    corpus = Corpus("mine", "Mine", tmp_path, (*utterances, Utterance("x", Path("x"), "ann", "sad")))
    assert corpus.select([two, "sad"]).classes == (plain_name(one), "sad")
    for scene in (one, two):
        write_audio(tmp_path / scene / f"{len(scene)}.wav", seconds=0.5)
    noise = read_noise("folder", tmp_path)
    assert noise.scenes == (plain_name(one),)
    assert set(prepare_noise(noise, with_scenes(two)).scenes) == {two}  # as the settings spell it


@pytest.mark.parametrize(
    ("one", "two"), [("Ann", "ann"), ("Ann", "\uff21nn"), ("Straße", "STRASSE"), ("AnnLee", "Ann Lee")]
)
def test_speakers_that_look_alike_are_warned_of(tmp_path: Path, one: str, two: str) -> None:
    corpus = read_corpus("manifest", manifest_of(tmp_path, [one, two, "Z"]))
    assert len(corpus.speakers) == 3
    (warning,) = corpus.warnings
    assert "look alike" in warning
    assert repr(one) in warning
    assert repr(two) in warning


def test_names_that_differ_are_no_look_alikes() -> None:
    assert look_alikes(["1", "2", "11", "Ses01F", "Ses01M", "Ann", "Anne"]) == []


@pytest.mark.parametrize("hidden", HIDDEN)
def test_no_reader_looks_into_hidden_folders(tmp_path: Path, hidden: str) -> None:
    """A hidden folder holds a twin of each recording and label file."""
    junk = b"\0\5\x16\7" + bytes(60)
    emodb = [write_audio(tmp_path / "emodb" / "wav" / f"03a01{letter}a.wav", i) for i, letter in enumerate("WFNT")]
    ravdess = [write_audio(tmp_path / "ravdess" / f"03-01-0{i}-01-01-01-01.wav", i) for i in (1, 3, 4, 5)]
    noise = write_audio(tmp_path / "noise" / "park" / "a.wav")
    msp_ids = {f"MSP-IMPROV-S01A-F01-P-FM0{i}": label for i, label in enumerate("AHNS")}
    touch(*(tmp_path / "msp" / f"{id}.wav" for id in msp_ids))
    write_lines(tmp_path / "msp" / "labels" / "Evalution.txt", msp_improv_lines(msp_ids))
    write_lines(tmp_path / "msp" / hidden / "Evalution.txt", ["UTD-nonsense; Q;"])
    codes = {f"Ses01F_impro04_F00{i}": code for i, code in enumerate(("ang", "hap", "neu", "sad"))}
    iemocap_tree(tmp_path / "iemocap", codes)
    spoken = tmp_path / "iemocap" / "Session1" / "sentences" / "wav"
    for original in (*emodb, *ravdess, next((tmp_path / "msp").glob("*.wav")), *spoken.rglob("*.wav")):
        twin = original.parent / hidden / original.name
        twin.parent.mkdir(exist_ok=True)
        twin.write_bytes(junk)
    for parent in (noise.parent, noise.parent.parent):
        (parent / hidden).mkdir()
        (parent / hidden / "a.wav").write_bytes(junk)
    for name in ("emodb", "ravdess", "msp", "iemocap"):
        corpus = read_corpus({"msp": "msp-improv"}.get(name, name), tmp_path / name)
        assert len(corpus.utterances) == 4
        assert not any(hidden in u.path.parts for u in corpus.utterances)
    found = read_noise("folder", tmp_path / "noise")
    assert found.scenes == ("park",)
    assert len(found.recordings) == 1


def test_a_corpus_below_a_hidden_folder_is_read(tmp_path: Path) -> None:
    write_audio(tmp_path / ".cache" / "@eaDir" / "park" / "a.wav")
    assert read_noise("folder", tmp_path / ".cache" / "@eaDir").scenes == ("park",)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_audio(tmp_path / "a" / "1.wav")
    write_audio(tmp_path / "b" / "2.wav")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if os.fspath(path) == str(tmp_path / "b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorpusError, match=rf"^{tmp_path}/b: cannot be read \(Permission denied\)"):
        read_noise("folder", tmp_path)


def make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    return path


@pytest.mark.parametrize("name", [NOT_UTF8, "line\nbreak", "bell\a", "tab\t", "[red]", "emoji 🎤"])
def test_a_corpus_below_any_folder_is_prepared(tmp_path: Path, cache: Path, name: str) -> None:
    folder = make_folder(tmp_path / name)
    manifest = manifest_of(folder, ["a", "b", "c"])
    strange = manifest.rename(folder / f"{name}.csv")
    (folder / "1.wav").write_bytes(b"")
    corpus = read_corpus("manifest", strange)
    dataset = prepare(corpus, PAPER, allow_bad_files=True)
    assert len(dataset.waveforms.offsets) == 12
    texts = [corpus.summary, corpus.title, *dataset.warnings, distinct_titles([corpus, corpus])[0].title]
    for text in texts:
        text.encode()
        assert "\n" not in text
    with pytest.raises(AudioError) as caught:
        decode(folder / "1.wav", RATE)
    str(caught.value).encode()
    with pytest.raises(CorpusError) as refused:
        read_corpus("manifest", folder / "none")
    str(refused.value).encode()


def test_scenes_and_ids_that_are_not_utf8_can_be_stored_and_drawn(tmp_path: Path, cache: Path) -> None:
    make_folder(tmp_path / "noise" / NOT_UTF8)
    write_audio(tmp_path / "noise" / NOT_UTF8 / f"{NOT_UTF8}.wav", seconds=1.0)
    noise = read_noise("folder", tmp_path / "noise")
    assert noise.scenes == ("caf\\xe9",)
    bank = prepare_noise(noise, with_scenes(*noise.scenes))
    draw_noise(bank, noise.scenes, bank.waveforms, [(0, NOT_UTF8)], 0)
    utterance = Utterance(NOT_UTF8, tmp_path, NOT_UTF8, NOT_UTF8, NOT_UTF8)
    assert {utterance.id, utterance.speaker, utterance.emotion, utterance.session} == {"caf\\xe9"}


def test_texts_are_stored_and_printed_with_escapes_only_where_needed() -> None:
    assert storable("José\n") == "José\n"
    assert storable(NOT_UTF8) == printable(NOT_UTF8) == "caf\\xe9"
    assert printable("José\n\u200b") == "José\\n\\u200b"
    storable("\ud800").encode()


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_audio(tmp_path / "noise" / "park" / "a.wav")
    assert len(decode(Path("~/noise/park/a.wav"), RATE)) == RATE // 5
    assert read_noise("folder", Path("~/noise")).scenes == ("park",)
    manifest = manifest_of(tmp_path, ["a"])
    manifest.write_text(manifest.read_text().replace("1.wav", "~/1.wav"))
    assert len(read_corpus("manifest", Path("~/my.csv")).utterances) == 4
    monkeypatch.setenv("FASTSER_CACHE", "~/cache")
    assert cache_dir() == tmp_path / "cache"
    assert not (tmp_path / "~").exists()


def test_a_home_that_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no $HOME, and no entry for the user
    for cache in ("~/cache", ""):
        monkeypatch.setenv("FASTSER_CACHE", cache)
        with pytest.raises(OSError, match=r"no home folder is known for ~. Set \$FASTSER_CACHE"):
            cache_dir()
    assert expanded(Path("~/a")) == Path("~/a")
    with pytest.raises(CorpusError, match="does not exist"):
        read_corpus("emodb", Path("~nobody-of-this-name/a"))
    assert list(tmp_path.iterdir()) == []


def two_rows(folder: Path, first: str, second: str, labels: tuple[str, str], speakers: tuple[str, str]) -> Path:
    write_audio(folder / "other.wav", 5)
    rows = [f"{first},{speakers[0]},{labels[0]}", f"{second},{speakers[1]},{labels[1]}", "other.wav,c,happy"]
    write_lines(folder / "my.csv", ["path,speaker,emotion", *rows])
    return folder / "my.csv"


@pytest.mark.parametrize("link", ["symbolic", "hard", "folder", "spelling"])
@pytest.mark.parametrize("what", ["label", "speaker", "nothing"])
def test_one_file_under_two_labels_or_speakers_is_an_error(tmp_path: Path, link: str, what: str) -> None:
    write_audio(tmp_path / "audio" / "a.wav")
    second = {"folder": "linked/a.wav", "spelling": "audio/../audio/a.wav"}.get(link, "b.wav")
    if link == "symbolic":
        (tmp_path / "b.wav").symlink_to(tmp_path / "audio" / "a.wav")
    elif link == "hard":
        (tmp_path / "b.wav").hardlink_to(tmp_path / "audio" / "a.wav")
    elif link == "folder":
        (tmp_path / "linked").symlink_to(tmp_path / "audio", target_is_directory=True)
    labels = ("angry", "sad" if what == "label" else "angry")
    manifest = two_rows(tmp_path, "audio/a.wav", second, labels, ("a", "b" if what == "speaker" else "a"))
    if link == "hard" and what == "nothing":  # storage that keeps equal contents once
        assert len(read_corpus("manifest", manifest, None).utterances) == 3
        return
    with pytest.raises(CorpusError, match=r"' and '.*' are the same file") as caught:
        read_corpus("manifest", manifest, None)
    assert repr(second) in str(caught.value)
    assert "'audio/a.wav'" in str(caught.value)
    assert ("two labels or speakers" in str(caught.value)) == (what != "nothing")


@pytest.mark.parametrize(("labels", "speakers"), [(("angry", "sad"), ("a", "a")), (("angry", "angry"), ("a", "b"))])
def test_equal_contents_under_two_labels_or_speakers_are_a_warning(
    tmp_path: Path, cache: Path, labels: tuple[str, str], speakers: tuple[str, str]
) -> None:
    write_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "b.wav")
    corpus = read_corpus("manifest", two_rows(tmp_path, "a.wav", "b.wav", labels, speakers), None)
    (warning,) = prepare(corpus, PAPER).warnings
    what = "label" if labels[0] != labels[1] else "speaker"
    assert f"1 file with the same audio as one of another {what}: a.wav (" in warning


def test_equal_contents_of_one_label_and_speaker_are_no_finding(tmp_path: Path, cache: Path) -> None:
    write_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "b.wav")
    corpus = read_corpus("manifest", two_rows(tmp_path, "a.wav", "b.wav", ("angry", "angry"), ("a", "a")), None)
    assert prepare(corpus, PAPER).warnings == ()


def test_a_zip_file_with_hidden_twins_gives_its_recording(tmp_path: Path, cache: Path) -> None:
    recording = write_audio(tmp_path / "ch01.wav")
    with zipfile.ZipFile(tmp_path / "NPARK_16k.zip", "w") as archive:
        archive.writestr("__MACOSX/NPARK/._ch01.wav", b"\0\5\x16\7")
        archive.writestr("__MACOSX/NPARK/ch01.wav", b"\0\5\x16\7")
        archive.write(recording, "NPARK/ch01.wav")
    (found,) = read_noise("demand", tmp_path).recordings
    assert found.path.read_bytes() == recording.read_bytes()
