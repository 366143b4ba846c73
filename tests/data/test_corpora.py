import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from corpus_trees import touch, write_noise

from fastser.data.corpora import (
    NOISE_READERS,
    CorpusError,
    emodb,
    iemocap,
    msp_improv,
    ravdess,
    read_corpus,
    read_noise,
)
from fastser.data.corpora.files import audio_files


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def iemocap_tree(root: Path, labels: dict[str, str], suffix: str = ".wav") -> None:
    """Audio and label files for ids and codes, with the lines around them that the real files have."""
    dialogues: dict[str, list[str]] = {}
    for id, code in labels.items():
        session, dialogue = root / f"Session{id[4]}", id[:-5]
        touch(session / "sentences" / "wav" / dialogue / (id + suffix))
        dialogues.setdefault(dialogue, ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""])
        dialogues[dialogue] += [
            f"[6.2901 - 8.2357]\t{id}\t{code}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "",
        ]
    for dialogue, lines in dialogues.items():
        write_lines(root / f"Session{dialogue[4]}" / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", lines)


IEMOCAP_LABELS = {
    "Ses01F_impro04_M000": "ang",
    "Ses01F_impro04_F001": "exc",
    "Ses01F_impro04_F002": "fru",
    "Ses03M_impro05a_F010": "hap",
    "Ses05M_script01_1b_M021": "sad",
    "Ses05M_script01_1b_F022": "xxx",
    "Ses05M_script01_1b_F023": "neu",
}


@pytest.mark.parametrize("inside", ["", "IEMOCAP_full_release", "IEMOCAP"])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_iemocap_layouts_and_true_speakers(tmp_path: Path, inside: str, suffix: str) -> None:
    iemocap_tree(tmp_path / inside, IEMOCAP_LABELS, suffix)
    corpus = read_corpus("iemocap", tmp_path)
    assert [(u.id, u.speaker, u.emotion, u.session) for u in corpus.utterances] == [
        ("Ses01F_impro04_F001", "Ses01F", "happy", "1"),
        ("Ses01F_impro04_M000", "Ses01M", "angry", "1"),
        ("Ses03M_impro05a_F010", "Ses03F", "happy", "3"),
        ("Ses05M_script01_1b_F023", "Ses05F", "neutral", "5"),
        ("Ses05M_script01_1b_M021", "Ses05M", "sad", "5"),
    ]
    assert all(u.path.is_file() and u.path.stem == u.id for u in corpus.utterances)
    assert corpus.complete is False
    assert corpus.summary.startswith("IEMOCAP: 5 of 5531 utterances; the copy is INCOMPLETE (Ses01F angry: 0 of 147, ")
    assert " more)" in corpus.summary
    assert len(corpus.warnings) == 1


def test_iemocap_skips_mac_residue_and_rater_folders(tmp_path: Path) -> None:
    iemocap_tree(tmp_path, IEMOCAP_LABELS)
    labels = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
    (labels / "._Ses01F_impro04.txt").write_bytes(b"\x00\x05\x16\x07[\xff\n[x]\n")
    write_lines(labels / "Categorical" / "Ses01F_impro04_e1_cat.txt", ["[broken"])
    touch(tmp_path / "Session1" / "sentences" / "wav" / "Ses01F_impro04" / "._Ses01F_impro04_M000.wav")
    assert len(read_corpus("iemocap", tmp_path).utterances) == 5


def test_iemocap_complete_copy_is_counted_per_speaker_and_class(tmp_path: Path) -> None:
    code = {"angry": "ang", "happy": "exc", "neutral": "neu", "sad": "sad"}
    labels = {}
    for number, (group, count) in enumerate(iemocap.EXPECTED.groups.items()):
        speaker, emotion = group.split()
        for turn in range(count):
            labels[f"{speaker[:5]}F_impro{number:02d}_{speaker[5]}{turn:03d}"] = code[emotion]
    iemocap_tree(tmp_path, labels)
    corpus = read_corpus("iemocap", tmp_path)
    assert corpus.complete is True
    assert corpus.warnings == ()
    assert corpus.summary == "IEMOCAP: 5531 utterances, 10 speakers; the copy is complete"
    assert corpus.class_counts() == {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084}
    for lost in ("Ses01F_impro00_F003", "Ses01F_impro00_F004"):
        next(tmp_path.glob(f"Session1/sentences/wav/*/{lost}.wav")).unlink()
    corpus = read_corpus("iemocap", tmp_path)
    assert corpus.complete is False
    assert corpus.summary.endswith("5529 of 5531 utterances; the copy is INCOMPLETE (Ses01F angry: 145 of 147)")
    assert "2 labelled utterances have no audio: Ses01F_impro00_F003, Ses01F_impro00_F004" in corpus.warnings[0]


@pytest.mark.parametrize(
    "line",
    [
        "[6.29 - 8.23]\tSes01F_impro04_M000\tang",
        "[6.29 - 8.23]\tSes01F_impro04_M000\tangry\t[2.5, 2.5, 2.5]",
        "[6.29 - 8.23]\tSes01F_impro04_M000\tbad\t[2.5, 2.5, 2.5]",
        "[6.29 - 8.23]\tsomething\tang\t[2.5, 2.5, 2.5]",
        "[6.29\tSes01F_impro04_M000\tang\t[2.5, 2.5, 2.5]",
    ],
)
def test_iemocap_label_line_that_does_not_parse(tmp_path: Path, line: str) -> None:
    iemocap_tree(tmp_path, IEMOCAP_LABELS)
    file = tmp_path / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro04.txt"
    write_lines(file, ["% header", "", line])
    with pytest.raises(CorpusError, match=rf"^{file}, line 3: is not an IEMOCAP label line"):
        read_corpus("iemocap", tmp_path)


def test_iemocap_label_given_twice(tmp_path: Path) -> None:
    iemocap_tree(tmp_path, IEMOCAP_LABELS)
    labels = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
    shutil.copy(labels / "Ses01F_impro04.txt", labels / "Ses01F_impro04 (copy).txt")
    with pytest.raises(CorpusError, match=r"utterance Ses01F_impro04_.* more than once"):
        read_corpus("iemocap", tmp_path)


MSP_LABELS = {
    "MSP-IMPROV-S01A-F01-P-FM01": "N",
    "MSP-IMPROV-S01A-M01-S-FM02": "A",
    "MSP-IMPROV-S20S-F06-R-FF03": "S",
    "MSP-IMPROV-S08H-M06-T-MF04": "H",
    "MSP-IMPROV-S08H-M06-T-MF05": "O",
    "MSP-IMPROV-S08H-M06-T-MF06": "X",
}


def msp_label_lines(labels: dict[str, str]) -> list[str]:
    return [
        line
        for id, label in labels.items()
        for line in (
            f"UTD-{id[4:]}.avi; {label}; A:2.800000; V:3.000000; D:NaN ; N:4.000000;",
            "ZZ1; Neutral; Sad,Other; A:3.0; V:2.0; D:NaN; N:NaN;",
            "ZZ1; Neutral; Sad,Other; A:3.0; V:2.0; D:NaN; N:NaN;",
            "",
        )
    ]


@pytest.mark.parametrize("label_file", ["Evalution.txt", "Evaluation.txt", "Human_labels/Evalution.txt"])
@pytest.mark.parametrize(("audio", "suffix"), [("", ".wav"), ("Audio", ".flac"), ("all_sessions", ".wav")])
def test_msp_improv_layouts(tmp_path: Path, label_file: str, audio: str, suffix: str) -> None:
    write_lines(tmp_path / label_file, msp_label_lines(MSP_LABELS))
    for id in MSP_LABELS:
        sentence, speaker, scenario = id.split("-")[2:5]
        file = tmp_path / audio / f"session{speaker[-1]}" / sentence / scenario / (id + suffix)
        touch(file, file.with_suffix(".avi"), file.with_name(f"._{file.name}"))
    corpus = read_corpus("msp-improv", tmp_path)
    assert [(u.id, u.speaker, u.emotion, u.session) for u in corpus.utterances] == [
        ("MSP-IMPROV-S01A-F01-P-FM01", "F01", "neutral", "1"),
        ("MSP-IMPROV-S01A-M01-S-FM02", "M01", "angry", "1"),
        ("MSP-IMPROV-S08H-M06-T-MF04", "M06", "happy", "6"),
        ("MSP-IMPROV-S20S-F06-R-FF03", "F06", "sad", "6"),
    ]
    assert all(u.path.suffix == suffix and u.path.is_file() for u in corpus.utterances)
    assert corpus.complete is False
    assert corpus.summary.startswith("MSP-IMPROV: 4 of 7798 utterances; the copy is INCOMPLETE (angry: 1 of 792, ")


def test_msp_improv_published_counts() -> None:
    assert msp_improv.EXPECTED.groups == {"angry": 792, "happy": 2644, "neutral": 3477, "sad": 885}
    assert msp_improv.EXPECTED.total == 7798


@pytest.mark.parametrize(
    "line",
    ["UTD-IMPROV-S01A-F01-P-FM01.avi; Q; A:1;", "UTD-IMPROV-S01A-P-FM01.avi; N;", "UTD-IMPROV-S01A-F01-P-FM01.avi"],
)
def test_msp_improv_label_line_that_does_not_parse(tmp_path: Path, line: str) -> None:
    lines = msp_label_lines(MSP_LABELS)
    write_lines(tmp_path / "Evalution.txt", [*lines, line])
    with pytest.raises(CorpusError, match=rf"Evalution.txt, line {len(lines) + 1}: is not an MSP-IMPROV label line"):
        read_corpus("msp-improv", tmp_path)


def test_msp_improv_with_two_copies_of_a_file(tmp_path: Path) -> None:
    write_lines(tmp_path / "Evalution.txt", msp_label_lines(MSP_LABELS))
    touch(*(tmp_path / copy / "MSP-IMPROV-S01A-F01-P-FM01.wav" for copy in ("session1", "all_sessions")))
    with pytest.raises(CorpusError, match=r"MSP-IMPROV-S01A-F01-P-FM01 is also in .*; give one copy only"):
        read_corpus("msp-improv", tmp_path)


def test_labels_without_any_audio(tmp_path: Path) -> None:
    write_lines(tmp_path / "Evalution.txt", msp_label_lines(MSP_LABELS))
    with pytest.raises(CorpusError, match=r"4 labelled utterances but the audio of none"):
        read_corpus("msp-improv", tmp_path)


@pytest.mark.parametrize("inside", ["", "wav"])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_emodb_layouts(tmp_path: Path, inside: str, suffix: str) -> None:
    names = ["03a01Fa", "03a01Nc", "16b10Td", "08a05Wb", "08a05Ab", "08a05Ea", "08a05La", "notes"]
    touch(*(tmp_path / inside / (name + suffix) for name in names))
    corpus = read_corpus("emodb", tmp_path)
    assert [(u.id, u.speaker, u.emotion, u.session) for u in corpus.utterances] == [
        ("03a01Fa", "03", "happy", None),
        ("03a01Nc", "03", "neutral", None),
        ("08a05Wb", "08", "angry", None),
        ("16b10Td", "16", "sad", None),
    ]
    assert corpus.summary.endswith(
        "4 of 339 utterances; the copy is INCOMPLETE (angry: 1 of 127, happy: 1 of 71, neutral: 1 of 79 and 1 more)"
    )


@pytest.mark.parametrize("folder", ["", "Actor_{actor}", "Audio_Speech_Actors_01-24/Actor_{actor}"])
def test_ravdess_layouts(tmp_path: Path, folder: str) -> None:
    kept = {"03-01-01-01-01-01-01": "neutral", "03-01-03-01-02-02-07": "happy", "03-01-04-02-01-01-24": "sad"}
    kept["03-01-05-02-01-01-24"] = "angry"
    dropped = ["03-01-02-01-01-01-01", "03-02-05-01-01-01-01", "01-01-05-01-01-01-01", "03-01-07-01-01-01-01"]
    touch(*(tmp_path / folder.format(actor=name[-2:]) / f"{name}.wav" for name in [*kept, *dropped]))
    corpus = read_corpus("ravdess", tmp_path)
    assert {u.id: u.emotion for u in corpus.utterances} == kept
    assert all(u.speaker == f"Actor_{u.id[-2:]}" for u in corpus.utterances)


def test_ravdess_twice_below_one_folder(tmp_path: Path) -> None:
    touch(*(tmp_path / copy / "Actor_01" / "03-01-01-01-01-01-01.wav" for copy in ("one", "two")))
    with pytest.raises(CorpusError, match=r"03-01-01-01-01-01-01 more than once: .*one.*, .*two"):
        read_corpus("ravdess", tmp_path)


def test_ravdess_with_too_many_files_is_not_called_complete(tmp_path: Path) -> None:
    touch(
        *(tmp_path / f"03-01-05-{i:02d}-{j:02d}-01-{k:02d}.wav" for i in range(9) for j in range(9) for k in range(9))
    )
    corpus = read_corpus("ravdess", tmp_path)
    assert corpus.complete is False
    assert "729 of 672 utterances; the copy is NOT THE PUBLISHED ONE (angry: 729 of 192" in corpus.summary


def test_wav_comes_before_flac_of_the_same_name(tmp_path: Path) -> None:
    touch(tmp_path / "03a01Fa.flac", tmp_path / "03a01Fa.wav", tmp_path / "03a01Nc.flac")
    assert [u.path.name for u in read_corpus("emodb", tmp_path).utterances] == ["03a01Fa.wav", "03a01Nc.flac"]


def test_real_emodb_and_ravdess_are_complete(shared_corpora: Path) -> None:
    corpora = read_corpus("emodb", shared_corpora / "emodb"), read_corpus("ravdess", shared_corpora / "ravdess_speech")
    for corpus, expected in zip(corpora, (emodb.EXPECTED, ravdess.EXPECTED), strict=True):
        assert corpus.complete is True
        assert corpus.warnings == ()
        assert corpus.class_counts() == expected.groups
    assert corpora[0].summary == "EMO-DB: 339 utterances, 10 speakers; the copy is complete"
    assert corpora[1].summary == "RAVDESS: 672 utterances, 24 speakers; the copy is complete"


def test_manifest_over_real_emodb_gives_what_its_reader_gives(shared_corpora: Path, tmp_path: Path) -> None:
    lines = (shared_corpora / "emodb" / "labels.csv").read_text().splitlines()
    manifest = tmp_path / "berlin.csv"
    write_lines(manifest, ["path" + lines[0].removeprefix("file"), *(f"{shared_corpora}/emodb/{x}" for x in lines[1:])])
    ours, theirs = read_corpus("manifest", manifest), read_corpus("emodb", shared_corpora / "emodb")
    assert ours.title == "berlin.csv"
    assert ours.complete is None
    assert [(u.path, u.speaker, u.emotion) for u in ours.utterances] == [
        (u.path, u.speaker, u.emotion) for u in theirs.utterances
    ]
    assert "196 rows with other emotions are left out: " in ours.warnings[0]


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str, encoding: str = "utf-8") -> Path:
        touch(tmp_path / "audio" / "a.wav", tmp_path / "audio" / "b.ogg", tmp_path / "audio" / "c, d.flac")
        (tmp_path / "my.csv").write_text("\n".join(lines), encoding=encoding)
        return tmp_path / "my.csv"

    return write


def test_manifest_columns_synonyms_and_paths(tmp_path: Path, manifest: Callable[..., Path]) -> None:
    path = manifest(
        "speaker, Path, emotion, split, session, seconds",
        "anna, audio/a.wav, ANGER, train, 1, 2.5",
        "",
        f"bert, {tmp_path}/audio/b.ogg, exc, validation, , 1",
        'bert, "audio/c, d.flac", Sadness, Test, 2,',
        "bert, audio/lost.wav, neutral, test, 2, 1",
        "bert, audio/a.wav, disgust, test, 2, 1",
        encoding="utf-8-sig",
    )
    corpus = read_corpus("manifest", path)
    by_id = {u.id: (u.speaker, u.emotion, u.session, u.split) for u in corpus.utterances}
    assert by_id == {
        "audio/a.wav": ("anna", "angry", "1", "train"),
        f"{tmp_path}/audio/b.ogg": ("bert", "happy", None, "validation"),
        "audio/c, d.flac": ("bert", "sad", "2", "test"),
    }
    assert all(u.path.is_file() for u in corpus.utterances)
    assert corpus.complete is None
    assert corpus.summary == "my.csv: 3 utterances, 2 speakers"
    assert corpus.warnings[0].endswith("1 rows with other emotions are left out: disgust (1)")
    assert corpus.warnings[1].endswith("speakers in more than one part of its split: bert (test, validation)")
    assert corpus.warnings[2].endswith("1 labelled utterances have no audio: audio/lost.wav")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1: must have one column 'path'"),
        (["path, speaker"], "line 1: must have one column 'emotion', has path, speaker"),
        (["path, path, speaker, emotion"], "line 1: must have one column 'path'"),
        (["path, speaker, emotion", "audio/a.wav, x"], "line 2: 2 cells, not 3"),
        (["path, speaker, emotion", "", "audio/a.wav, , sad"], "line 3: speaker is empty"),
        (
            ["path, speaker, emotion, split", "audio/a.wav, x, sad, dev"],
            "line 2: split is 'dev'; it must be one of train",
        ),
        (
            ["path, speaker, emotion, split", "audio/a.wav, x, sad, test", "audio/b.ogg, x, sad,"],
            "some rows have a split, 1 have none: audio/b.ogg",
        ),
        (["path, speaker, emotion", 'audio/a.wav, "x, sad'], "is not a CSV file"),
        (["path, speaker, emotion", "audio/a.wav, x, sad", "audio/a.wav, y, sad"], "audio/a.wav more than once"),
        (["path, speaker, emotion", "audio/a.wav, x, bored"], "my.csv has no utterance of the four classes"),
    ],
)
def test_manifest_that_is_wrong(manifest: Callable[..., Path], lines: list[str], message: str) -> None:
    path = manifest(*lines)
    with pytest.raises(CorpusError, match=f"^{path}.*{message}"):
        read_corpus("manifest", path)


def test_synthetic_marker(tmp_path: Path) -> None:
    iemocap_tree(tmp_path / "speech", IEMOCAP_LABELS)
    write_noise(tmp_path / "noise" / "NPARK" / "ch01.wav", 16_000)
    for folder in ("speech", "noise"):
        (tmp_path / folder / "SYNTHETIC.txt").write_text("generated")
    corpus, noise = read_corpus("iemocap", tmp_path / "speech"), read_noise("demand", tmp_path / "noise")
    assert corpus.synthetic
    assert corpus.complete is None
    assert corpus.warnings == ()
    assert corpus.summary == "synthetic IEMOCAP: 5 utterances, 5 speakers; generated, not recorded"
    assert noise.synthetic
    assert noise.title == "synthetic DEMAND"
    assert noise.summary == "synthetic DEMAND: 1 of 5 scenes; generated, not recorded"


@pytest.mark.parametrize("name", ["iemocap", "msp-improv", "emodb", "ravdess"])
def test_a_path_that_is_not_that_corpus(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=f"^{tmp_path}: "):
        read_corpus(name, tmp_path)
    with pytest.raises(CorpusError, match=rf"^{tmp_path}/none: does not exist \(given as {name}\)"):
        read_corpus(name, tmp_path / "none")
    touch(tmp_path / "file")
    with pytest.raises(CorpusError, match=f"^{tmp_path}/file: is not a folder"):
        read_corpus(name, tmp_path / "file")


def test_names_of_readers(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="crema: is not a known reader; the readers are iemocap, msp-improv"):
        read_corpus("crema", tmp_path)
    with pytest.raises(CorpusError, match="demand: is noise, not speech"):
        read_corpus("demand", tmp_path)
    with pytest.raises(CorpusError, match="emodb: is speech, not noise; noise is one of demand, folder"):
        read_noise("emodb", tmp_path)


def test_links_that_make_loops_do_not_multiply(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    for name in ("x", "y"):
        (tmp_path / name).symlink_to(tmp_path, target_is_directory=True)
    assert audio_files(tmp_path) == [tmp_path / "a.wav"]


@pytest.mark.parametrize(("reader", "name"), [("emodb", "\u0660\u0663a01Fa"), ("ravdess", "03-01-05-01-01-01-1\uff12")])
def test_digits_of_other_scripts_are_no_speaker(tmp_path: Path, reader: str, name: str) -> None:
    touch(tmp_path / f"{name}.wav")
    with pytest.raises(CorpusError, match="has no utterance"):
        read_corpus(reader, tmp_path)


def test_a_byte_order_mark_hides_no_label(tmp_path: Path) -> None:
    touch(tmp_path / "MSP-IMPROV-S01A-F01-P-FM01.wav")
    (tmp_path / "Evalution.txt").write_text("UTD-IMPROV-S01A-F01-P-FM01.avi; A;", encoding="utf-8-sig")
    assert len(read_corpus("msp-improv", tmp_path).utterances) == 1
    iemocap_tree(tmp_path, {"Ses01F_impro04_M000": "ang"})
    file = tmp_path / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro04.txt"
    file.write_text("\n".join(file.read_text().splitlines()[2:]), encoding="utf-8-sig")
    assert len(read_corpus("iemocap", tmp_path).utterances) == 1


def test_manifest_with_one_file_twice(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    (tmp_path / "my.csv").write_text("path,speaker,emotion\na.wav,ann,sad\n./a.wav,bob,sad\n")
    with pytest.raises(CorpusError, match=r"my.csv: 'a.wav' and './a.wav' are the same file"):
        read_corpus("manifest", tmp_path / "my.csv")


def test_manifest_split_with_a_speaker_on_both_sides_is_warned_of(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.wav", "b.wav", "c.wav")))
    rows = ["path,speaker,emotion,split", "a.wav,ann,sad,train", "b.wav,ann,sad,test", "c.wav,bob,sad,validation"]
    write_lines(tmp_path / "my.csv", rows)
    (warning,) = read_corpus("manifest", tmp_path / "my.csv").warnings
    assert warning.endswith("my.csv: speakers in more than one part of its split: ann (test, train)")


def test_an_error_without_a_file_name_names_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError("Invalid data stream")

    monkeypatch.setitem(NOISE_READERS, "demand", fail)
    with pytest.raises(CorpusError, match=rf"^{tmp_path}: cannot be read \(Invalid data stream\)"):
        read_noise("demand", tmp_path)
