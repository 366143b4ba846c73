"""Manifests: columns, labels, splits, errors."""

from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_trees import touch, write_lines

from fastser.data.corpora import CorpusError, read_corpus
from fastser.data.corpora.canonical import canonical_emotion


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str, encoding: str = "utf-8") -> Path:
        touch(tmp_path / "audio" / "a.wav", tmp_path / "audio" / "b.ogg", tmp_path / "audio" / "c, d.flac")
        touch(tmp_path / "audio" / "d.wav")
        (tmp_path / "my.csv").write_text("\n".join(lines), encoding=encoding)
        return tmp_path / "my.csv"

    return write


@pytest.mark.fast
def test_columns_synonyms_and_paths(tmp_path: Path, manifest: Callable[..., Path]) -> None:
    path = manifest(
        "speaker, Path, emotion, split, session, seconds",
        "anna, audio/a.wav, ANGER, train, 1, 2.5",
        "",
        f"bert, {tmp_path}/audio/b.ogg, exc, validation, , 1",
        'bert, "audio/c, d.flac", Sadness, Test, 2,',
        "bert, audio/lost.wav, angry, test, 2, 1",
        "bert, audio/d.wav, disgust, test, 2, 1",
        "bert, audio/gone.wav, boredom, test, 2, 1",
        encoding="utf-8-sig",
    )
    corpus = read_corpus("manifest", path, ("sad", "angry", "happy"))
    by_id = {u.id: (u.speaker, u.emotion, u.session, u.split) for u in corpus.utterances}
    assert by_id == {
        "audio/a.wav": ("anna", "angry", "1", "train"),
        f"{tmp_path}/audio/b.ogg": ("bert", "happy", None, "validation"),
        "audio/c, d.flac": ("bert", "sad", "2", "test"),
    }
    assert all(u.path.is_file() for u in corpus.utterances)
    assert corpus.complete is None
    assert corpus.summary == "my.csv: 3 utterances, 2 speakers"
    assert corpus.warnings == (
        f"{path}: 2 rows with other emotions left out: bored (1), disgust (1)",
        f"{path}: speakers in more than one part of its split: bert (test, validation)",
        f"{path}: 1 labelled utterance without audio: audio/lost.wav",
    )


def test_the_text_is_optional_in_a_manifest_and_in_a_line(manifest: Callable[..., Path]) -> None:
    path = manifest(
        "path,speaker,emotion,text", 'audio/a.wav,ann,sad,"Oh,  no"', "audio/b.ogg,bob,angry,", "audio/d.wav,bob,sad,x"
    )
    assert [u.text for u in read_corpus("manifest", path, None).utterances] == ["Oh, no", None, "x"]


def test_any_label_is_a_class(manifest: Callable[..., Path]) -> None:
    path = manifest(
        "path, speaker, emotion",
        "audio/a.wav, anna,  Very   PROUD ",
        "audio/b.ogg, bert, fear",
        "audio/lost.wav, bert, relaxed",
    )
    corpus = read_corpus("manifest", path, classes=None)
    assert corpus.classes == ("fearful", "very proud")
    assert corpus.labels == [1, 0]
    assert corpus.warnings == (f"{path}: 1 labelled utterance without audio: audio/lost.wav",)


@pytest.mark.fast
def test_canonical_names_of_emotions() -> None:
    synonyms = {
        "angry": "angry anger ang",
        "happy": "happy happiness hap joy excited excitement exc",
        "neutral": "neutral neu",
        "sad": "sad sadness",
        "fearful": "fearful fear fea anxiety",
        "bored": "bored boredom",
        "surprised": "surprised surprise sur",
        "disgust": "disgust disgusted dis",
        "frustrated": "frustrated frustration fru",
        "calm": "calm calmness",
        "contempt": "contempt",
    }
    for emotion, names in synonyms.items():
        assert {canonical_emotion(name) for name in names.split()} == {emotion}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1: has no columns path, speaker, emotion; it has nothing"),
        (["path, speaker"], "line 1: has no column emotion; it has path, speaker"),
        (["path, path, speaker, emotion"], "line 1: must have the column path once; it has path, path,"),
        (["path, speaker, emotion", "audio/a.wav, x"], "line 2: 2 cells, not 3"),
        (["path, speaker, emotion", "", "audio/a.wav, , sad"], "line 3: speaker is empty"),
        (
            ["path, speaker, emotion, split", "audio/a.wav, x, sad, dev"],
            "line 2: split is 'dev'; it must be one of train",
        ),
        (
            ["path, speaker, emotion, split", "audio/a.wav, x, sad, test", "audio/b.ogg, x, calm,"],
            "some utterances have a split, 1 have none: audio/b.ogg",
        ),
        (["path, speaker, emotion", 'audio/a.wav, "x, sad'], "is not a CSV file"),
        (["path, speaker, emotion", "audio/a.wav, x, sad", "audio/a.wav, y, calm"], "audio/a.wav more than once"),
        (
            ["path, speaker, emotion", "audio/a.wav, x, sad", "./audio/a.wav, y, calm"],
            "'./audio/a.wav' and 'audio/a.wav' are the same file",
        ),
        (["path, speaker, emotion"], "my.csv has no labelled utterance"),
    ],
)
def test_a_wrong_manifest(manifest: Callable[..., Path], lines: list[str], message: str) -> None:
    path = manifest(*lines)
    with pytest.raises(CorpusError, match=f"^{path}.*{message}"):
        read_corpus("manifest", path, classes=None)


def test_rows_that_are_left_out_are_not_checked(manifest: Callable[..., Path]) -> None:
    rows = ("audio/a.wav, x, sad, train", "audio/b.ogg, x, angry, train", "audio/d.wav, x, bored,")
    path = manifest("path, speaker, emotion, split", *rows)
    assert len(read_corpus("manifest", path, ("angry", "sad")).utterances) == 2


def test_a_manifest_of_real_emodb_equals_its_reader(shared_corpora: Path, tmp_path: Path) -> None:
    lines = (shared_corpora / "emodb" / "labels.csv").read_text().splitlines()
    manifest = tmp_path / "berlin.csv"
    write_lines(manifest, ["path" + lines[0].removeprefix("file"), *(f"{shared_corpora}/emodb/{x}" for x in lines[1:])])
    for classes in (None, ("sad", "happy", "neutral", "angry")):
        ours = read_corpus("manifest", manifest, classes)
        theirs = read_corpus("emodb", shared_corpora / "emodb", classes)
        assert (ours.title, ours.complete, ours.classes) == ("berlin.csv", None, theirs.classes)
        assert [(u.path, u.speaker, u.emotion) for u in ours.utterances] == [
            (u.path, u.speaker, u.emotion) for u in theirs.utterances
        ]
    message = f"{manifest}: 196 rows with other emotions left out: bored (81), disgust (46), fearful (69)"
    assert ours.warnings == (message,)
