"""Readers of speech corpora: layouts, labels, published counts, errors."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from corpus_trees import iemocap_tree, msp_improv_lines, touch, write_lines, write_noise

from fastser.data.corpora import (
    NOISE_READERS,
    PAPER_CLASSES,
    READERS,
    Corpus,
    CorpusError,
    Reader,
    Utterance,
    emodb,
    iemocap,
    msp_improv,
    ravdess,
    read_corpus,
    read_noise,
)
from fastser.data.corpora.files import audio_files

IEMOCAP_CODES = {
    "Ses01F_impro04_F001": "exc",
    "Ses01F_impro04_F002": "fru",
    "Ses01F_impro04_M000": "ang",
    "Ses03M_impro05a_F010": "hap",
    "Ses03M_impro05a_F011": "fea",
    "Ses03M_impro05a_M012": "sur",
    "Ses05M_script01_1b_F022": "xxx",
    "Ses05M_script01_1b_F023": "neu",
    "Ses05M_script01_1b_F024": "dis",
    "Ses05M_script01_1b_F025": "oth",
    "Ses05M_script01_1b_M021": "sad",
}


@pytest.mark.fast
@pytest.mark.parametrize(("inside", "suffix"), [("", ".wav"), ("IEMOCAP_full_release", ".flac"), ("IEMOCAP", ".WAV")])
def test_iemocap_layouts_and_true_speakers(tmp_path: Path, inside: str, suffix: str) -> None:
    iemocap_tree(tmp_path / inside, IEMOCAP_CODES, suffix)
    corpus = read_corpus("iemocap", tmp_path)
    assert [(u.id, u.speaker, u.emotion, u.session) for u in corpus.utterances] == [
        ("Ses01F_impro04_F001", "Ses01F", "happy", "1"),
        ("Ses01F_impro04_M000", "Ses01M", "angry", "1"),
        ("Ses03M_impro05a_F010", "Ses03F", "happy", "3"),
        ("Ses05M_script01_1b_F023", "Ses05F", "neutral", "5"),
        ("Ses05M_script01_1b_M021", "Ses05M", "sad", "5"),
    ]
    assert all(u.path.is_file() and u.path.stem == u.id for u in corpus.utterances)
    assert corpus.path == tmp_path
    assert corpus.complete is False
    beginning = "IEMOCAP: 5 of 5531 utterances (angry, happy, neutral, sad); the copy is INCOMPLETE (Ses01F angry: 0 of"
    assert corpus.summary.startswith(beginning)
    assert " more)" in corpus.summary
    assert len(corpus.warnings) == 1
    assert "IEMOCAP's published counts, excited counted as happy (5531 utterances of 4 classes)" in corpus.warnings[0]


def test_iemocap_texts_come_from_its_transcripts(tmp_path: Path) -> None:
    iemocap_tree(tmp_path, IEMOCAP_CODES)
    assert {u.text for u in read_corpus("iemocap", tmp_path).utterances} == {None}
    lines = [
        "Ses01F_impro04_F001 [006.2901-008.2357]: Excuse me.",
        "Ses01F_impro04_MXX0 [007.0000-008.0000]: Mmhmm.",
        "M: [BREATHING]",
        "Ses01F_impro04_M000 [008.2901-010.2357]: ",
    ]
    write_lines(tmp_path / "Session1/dialog/transcriptions/Ses01F_impro04.txt", lines)
    write_lines(tmp_path / "Session1/dialog/transcriptions/._Ses01F_impro04.txt", ["\0"])
    texts = {u.id: u.text for u in read_corpus("iemocap", tmp_path).utterances if u.session == "1"}
    assert texts == {"Ses01F_impro04_F001": "Excuse me.", "Ses01F_impro04_M000": None}


def test_iemocap_labels_beyond_the_four_classes(tmp_path: Path) -> None:
    iemocap_tree(tmp_path, IEMOCAP_CODES)
    emotions = {u.id: u.emotion for u in read_corpus("iemocap", tmp_path, classes=None).utterances}
    others = {id: emotion for id, emotion in emotions.items() if emotion not in PAPER_CLASSES}
    assert others == {
        "Ses01F_impro04_F002": "frustrated",
        "Ses03M_impro05a_F011": "fearful",
        "Ses03M_impro05a_M012": "surprised",
        "Ses05M_script01_1b_F024": "disgust",
        "Ses05M_script01_1b_F025": "other",
    }
    assert "Ses05M_script01_1b_F022" not in emotions


def test_iemocap_skips_mac_residue_and_rater_folders(tmp_path: Path) -> None:
    iemocap_tree(tmp_path, IEMOCAP_CODES)
    labels = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
    (labels / "._Ses01F_impro04.txt").write_bytes(b"\x00\x05\x16\x07[\xff\n[x]\n")
    write_lines(labels / "Categorical" / "Ses01F_impro04_e1_cat.txt", ["[broken"])
    touch(tmp_path / "Session1" / "sentences" / "wav" / "Ses01F_impro04" / "._Ses01F_impro04_M000.wav")
    assert len(read_corpus("iemocap", tmp_path).utterances) == 5


def test_complete_iemocap_is_counted_per_speaker_and_class(tmp_path: Path) -> None:
    code = {"angry": "ang", "happy": "exc", "neutral": "neu", "sad": "sad"}
    codes = {"Ses01F_impro99_F000": "fru"}
    for number, group in enumerate(iemocap.EXPECTED.groups):
        if group.speaker is not None:
            for turn in range(group.count):
                codes[f"{group.speaker[:5]}F_impro{number:02d}_{group.speaker[5]}{turn:03d}"] = code[group.emotion]
    iemocap_tree(tmp_path, codes)
    corpus = read_corpus("iemocap", tmp_path)
    assert corpus.complete is True
    assert corpus.warnings == ()
    size = "5531 of 5532 utterances (angry, happy, neutral, sad), 10 speakers"
    assert corpus.summary == f"IEMOCAP: {size}; the copy is complete"
    assert corpus.class_counts() == {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084}
    with_all_labels = read_corpus("iemocap", tmp_path, classes=None)
    assert with_all_labels.complete is False
    assert "INCOMPLETE (frustrated: 1 of 1849, surprised: 0 of 107" in with_all_labels.summary
    for lost in ("Ses01F_impro00_F003", "Ses01F_impro00_F004"):
        next(tmp_path.glob(f"Session1/sentences/wav/*/{lost}.wav")).unlink()
    corpus = read_corpus("iemocap", tmp_path)
    assert corpus.complete is False
    assert "5529 of 5531 utterances" in corpus.summary
    assert corpus.summary.endswith("; the copy is INCOMPLETE (Ses01F angry: 145 of 147)")
    assert "2 labelled utterances without audio: Ses01F_impro00_F003, Ses01F_impro00_F004" in corpus.warnings[0]


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
    iemocap_tree(tmp_path, IEMOCAP_CODES)
    file = tmp_path / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro04.txt"
    write_lines(file, ["% header", "", line])
    with pytest.raises(CorpusError, match=rf"^{file}, line 3: is not an IEMOCAP label line"):
        read_corpus("iemocap", tmp_path)


def test_iemocap_label_given_twice(tmp_path: Path) -> None:
    iemocap_tree(tmp_path, IEMOCAP_CODES)
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


@pytest.mark.fast
@pytest.mark.parametrize(
    ("label_file", "audio", "suffix"),
    [
        ("Evalution.txt", "", ".wav"),
        ("Evaluation.txt", "Audio", ".flac"),
        ("Human_labels/Evalution.txt", "all_sessions", ".wav"),
    ],
)
def test_msp_improv_layouts(tmp_path: Path, label_file: str, audio: str, suffix: str) -> None:
    write_lines(tmp_path / label_file, msp_improv_lines(MSP_LABELS))
    for id in MSP_LABELS:
        sentence, speaker, scenario = id.split("-")[2:5]
        file = tmp_path / audio / f"session{speaker[-1]}" / sentence / scenario / (id + suffix)
        touch(file, file.with_suffix(".avi"), file.with_name(f"._{file.name}"))
    corpus = read_corpus("msp-improv", tmp_path, classes=None)
    assert [(u.id, u.speaker, u.emotion, u.session) for u in corpus.utterances] == [
        ("MSP-IMPROV-S01A-F01-P-FM01", "F01", "neutral", "1"),
        ("MSP-IMPROV-S01A-M01-S-FM02", "M01", "angry", "1"),
        ("MSP-IMPROV-S08H-M06-T-MF04", "M06", "happy", "6"),
        ("MSP-IMPROV-S08H-M06-T-MF05", "M06", "other", "6"),
        ("MSP-IMPROV-S20S-F06-R-FF03", "F06", "sad", "6"),
    ]
    assert [u.text for u in corpus.utterances] == [None, "S01", None, None, "S20"]
    assert all(u.path.suffix == suffix and u.path.is_file() for u in corpus.utterances)
    assert corpus.complete is False
    assert corpus.summary.startswith("MSP-IMPROV: 5 of 7883 utterances; the copy is INCOMPLETE (angry: 1 of 792, ")
    assert read_corpus("msp-improv", tmp_path).summary.startswith("MSP-IMPROV: 4 of 7798 utterances (angry, happy, ")


def test_published_totals() -> None:
    def total(classes: tuple[str, ...]) -> list[int]:
        restricted = [reader.EXPECTED.restricted_to(classes) for reader in (iemocap, msp_improv, emodb, ravdess)]
        return [expected.total for expected in restricted if expected is not None]

    assert total(PAPER_CLASSES) == [5531, 7798, 339, 672]
    assert [reader.EXPECTED.total for reader in (iemocap, msp_improv, emodb, ravdess)] == [7532, 7883, 535, 1440]


@pytest.mark.parametrize(
    "line",
    ["UTD-IMPROV-S01A-F01-P-FM01.avi; Q; A:1;", "UTD-IMPROV-S01A-P-FM01.avi; N;", "UTD-IMPROV-S01A-F01-P-FM01.avi"],
)
def test_msp_improv_label_line_that_does_not_parse(tmp_path: Path, line: str) -> None:
    lines = msp_improv_lines(MSP_LABELS)
    write_lines(tmp_path / "Evalution.txt", [*lines, line])
    with pytest.raises(CorpusError, match=rf"Evalution.txt, line {len(lines) + 1}: is not an MSP-IMPROV label line"):
        read_corpus("msp-improv", tmp_path)


def test_msp_improv_with_two_copies_of_a_file(tmp_path: Path) -> None:
    write_lines(tmp_path / "Evalution.txt", msp_improv_lines(MSP_LABELS))
    touch(*(tmp_path / copy / "MSP-IMPROV-S01A-F01-P-FM01.wav" for copy in ("session1", "all_sessions")))
    with pytest.raises(CorpusError, match=r"MSP-IMPROV-S01A-F01-P-FM01 is also in .*; give one copy only"):
        read_corpus("msp-improv", tmp_path)


def test_labels_without_any_audio(tmp_path: Path) -> None:
    write_lines(tmp_path / "Evalution.txt", msp_improv_lines(MSP_LABELS))
    message = r"5 labelled utterances but the audio of none of them, such as MSP-IMPROV-S01A-F01-P-FM01"
    with pytest.raises(CorpusError, match=message):
        read_corpus("msp-improv", tmp_path)


@pytest.mark.fast
@pytest.mark.parametrize(("inside", "suffix"), [("", ".wav"), ("wav", ".flac")])
def test_emodb_layouts_and_labels(tmp_path: Path, inside: str, suffix: str) -> None:
    names = ["03a01Fa", "03a01Nc", "08a05Ab", "08a05Ea", "08a05La", "08a05Wb", "16b10Td", "notes"]
    touch(*(tmp_path / inside / (name + suffix) for name in names))
    assert [(u.id, u.speaker, u.emotion, u.session) for u in read_corpus("emodb", tmp_path, None).utterances] == [
        ("03a01Fa", "03", "happy", None),
        ("03a01Nc", "03", "neutral", None),
        ("08a05Ab", "08", "fearful", None),
        ("08a05Ea", "08", "disgust", None),
        ("08a05La", "08", "bored", None),
        ("08a05Wb", "08", "angry", None),
        ("16b10Td", "16", "sad", None),
    ]
    corpus = read_corpus("emodb", tmp_path)
    assert [u.id for u in corpus.utterances] == ["03a01Fa", "03a01Nc", "08a05Wb", "16b10Td"]
    assert [u.text for u in corpus.utterances] == ["a01", "a01", "a05", "b10"]
    assert corpus.summary == (
        "EMO-DB: 4 of 339 utterances (angry, happy, neutral, sad); the copy is INCOMPLETE "
        "(angry: 1 of 127, happy: 1 of 71, neutral: 1 of 79 and 2 more)"
    )


@pytest.mark.parametrize("folder", ["", "Audio_Speech_Actors_01-24/Actor_{actor}"])
def test_ravdess_layouts_and_labels(tmp_path: Path, folder: str) -> None:
    emotions = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    speech = {f"03-01-{code:02d}-01-02-02-{code + 10}": emotion for code, emotion in enumerate(emotions, start=1)}
    song_and_video = ["03-02-05-01-01-01-01", "01-01-05-01-01-01-01", "03-01-09-01-01-01-01"]
    touch(*(tmp_path / folder.format(actor=name[-2:]) / f"{name}.wav" for name in [*speech, *song_and_video]))
    corpus = read_corpus("ravdess", tmp_path, classes=None)
    assert {u.id: u.emotion for u in corpus.utterances} == speech
    assert all(u.speaker == f"Actor_{u.id[-2:]}" and u.text == "02" for u in corpus.utterances)


def test_ravdess_twice_below_one_folder(tmp_path: Path) -> None:
    touch(*(tmp_path / copy / f"03-01-0{emotion}-01-01-01-01.wav" for copy in ("one", "two") for emotion in (1, 2)))
    with pytest.raises(CorpusError, match=r"03-01-01-01-01-01-01 more than once: .*one.*, .*two"):
        read_corpus("ravdess", tmp_path, classes=None)


def test_ravdess_with_too_many_files_is_not_the_published_copy(tmp_path: Path) -> None:
    numbers = range(9)
    touch(*(tmp_path / f"03-01-05-{i:02d}-{j:02d}-01-{k:02d}.wav" for i in numbers for j in numbers for k in numbers))
    touch(tmp_path / "03-01-01-01-01-01-01.wav")
    corpus = read_corpus("ravdess", tmp_path, ("angry", "neutral"))
    assert corpus.complete is False
    assert "730 of 288 utterances; the copy is NOT THE PUBLISHED ONE (angry: 729 of 192" in corpus.summary


def test_wav_is_preferred_to_flac_of_the_same_name(tmp_path: Path) -> None:
    touch(tmp_path / "03a01Fa.flac", tmp_path / "03a01Fa.wav", tmp_path / "03a01Nc.flac")
    assert [u.path.name for u in read_corpus("emodb", tmp_path, None).utterances] == ["03a01Fa.wav", "03a01Nc.flac"]


def test_a_copy_without_a_published_class_is_read_and_called_incomplete(tmp_path: Path) -> None:
    touch(tmp_path / "wav" / "03a01Fa.wav")
    corpus = read_corpus("emodb", tmp_path)
    assert (corpus.classes, corpus.complete) == (PAPER_CLASSES, False)
    assert "INCOMPLETE" in corpus.summary
    assert "angry: 0 of 127" in corpus.summary
    assert read_corpus("emodb", tmp_path, ["Angry", "joy"]).classes == ("angry", "happy")
    with pytest.raises(CorpusError, match=r"no utterance of blissful; its labels are happy \(1\).*--classes"):
        read_corpus("emodb", tmp_path, ["happy", "blissful"])


def test_real_emodb_and_ravdess_are_complete(shared_corpora: Path) -> None:
    places = {"emodb": shared_corpora / "emodb", "ravdess": shared_corpora / "ravdess_speech"}
    four = [read_corpus(name, path) for name, path in places.items()]
    whole = [read_corpus(name, path, classes=None) for name, path in places.items()]
    assert [corpus.summary for corpus in (*four, *whole)] == [
        "EMO-DB: 339 of 535 utterances (angry, happy, neutral, sad), 10 speakers; the copy is complete",
        "RAVDESS: 672 of 1440 utterances (angry, happy, neutral, sad), 24 speakers; the copy is complete",
        "EMO-DB: 535 utterances, 10 speakers; the copy is complete",
        "RAVDESS: 1440 utterances, 24 speakers; the copy is complete",
    ]
    assert all(corpus.warnings == () for corpus in (*four, *whole))
    for corpus, expected in zip(whole, (emodb.EXPECTED, ravdess.EXPECTED), strict=True):
        assert corpus.class_counts() == {group.emotion: group.count for group in expected.groups}


def test_a_copy_with_only_the_four_classes_is_complete(shared_corpora: Path, tmp_path: Path) -> None:
    touch(*(tmp_path / u.path.name for u in read_corpus("emodb", shared_corpora / "emodb").utterances))
    corpus = read_corpus("emodb", tmp_path)
    assert corpus.summary == "EMO-DB: 339 utterances, 10 speakers; the copy is complete"
    whole = read_corpus("emodb", tmp_path, classes=None)
    assert "339 of 535 utterances; the copy is INCOMPLETE (bored: 0 of 81" in whole.summary


@pytest.mark.fast
def test_synthetic_marker(tmp_path: Path) -> None:
    iemocap_tree(tmp_path / "speech", IEMOCAP_CODES)
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


def test_unknown_and_confused_reader_names(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no corpus reader 'iemocaps'; did you mean 'iemocap'\? Known: iemocap, msp"):
        read_corpus("iemocaps", tmp_path)
    with pytest.raises(CorpusError, match="demand: is noise, not speech; the readers of speech are iemocap, "):
        read_corpus("demand", tmp_path)
    with pytest.raises(CorpusError, match=r"folder: is noise.* needs a manifest: python -m fastser.manifest my "):
        read_corpus("folder", Path("my"))
    command = re.escape(f"python -m fastser.manifest {tmp_path} --pattern '{{speaker}}_{{emotion}}_*.wav' --out")
    with pytest.raises(CorpusError, match=f"{tmp_path}: is not a file; .*; {command} corpus.csv makes one"):
        read_corpus("manifest", tmp_path)
    with pytest.raises(CorpusError, match="emodb: is speech, not noise; the readers of noise are demand, folder"):
        read_noise("emodb", tmp_path)


def test_a_registered_reader_is_used_by_name(tmp_path: Path) -> None:
    def read(path: Path) -> Corpus:
        utterances = [Utterance(e, path / f"{e}.wav", "ann", e) for e in ("proud", "angry", "calm")]
        return Corpus("mine", "Mine", path, tuple(utterances))

    with READERS.including(Reader("mine", read)):
        corpus = read_corpus("mine", tmp_path, ["proud", "angry"])
    assert corpus.summary == "Mine: 2 utterances, 1 speaker"
    assert Counter(zip(corpus.labels, (u.emotion for u in corpus.utterances), strict=True)) == {
        (1, "angry"): 1,
        (0, "proud"): 1,
    }


def test_an_error_without_a_file_name_names_the_corpus(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        raise OSError("Invalid data stream")

    message = rf"^{tmp_path}: cannot be read \(Invalid data stream\)"
    with NOISE_READERS.including(Reader("broken", fail)), pytest.raises(CorpusError, match=message):
        read_noise("broken", tmp_path)


def test_links_that_make_loops_do_not_multiply(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    for name in ("x", "y"):
        (tmp_path / name).symlink_to(tmp_path, target_is_directory=True)
    assert audio_files(tmp_path) == [tmp_path / "a.wav"]


@pytest.mark.parametrize(("reader", "name"), [("emodb", "\u0660\u0663a01Fa"), ("ravdess", "03-01-05-01-01-01-1\uff12")])
def test_digits_of_other_scripts_are_no_speaker(tmp_path: Path, reader: str, name: str) -> None:
    touch(tmp_path / f"{name}.wav")
    with pytest.raises(CorpusError, match=rf"^{tmp_path}: holds no .*; give "):
        read_corpus(reader, tmp_path)


def test_a_byte_order_mark_hides_no_label(tmp_path: Path) -> None:
    (tmp_path / "Evalution.txt").write_text("UTD-IMPROV-S01A-F01-P-FM01.avi; A;", encoding="utf-8-sig")
    touch(tmp_path / "MSP-IMPROV-S01A-F01-P-FM01.wav")
    assert len(msp_improv.read(tmp_path).utterances) == 1
    iemocap_tree(tmp_path, {"Ses01F_impro04_M000": "ang"})
    file = tmp_path / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro04.txt"
    file.write_text("\n".join(file.read_text().splitlines()[2:]), encoding="utf-8-sig")
    assert len(iemocap.read(tmp_path).utterances) == 1
