"""Properties of all corpus readers.

A reader returns exactly the content of names and label lines. It leaves out or refuses everything else.
"""

import csv
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import example, given
from reader_examples import NAMES, folder, repeatable, touch

from fastser.data.corpora import READERS, Corpus, CorpusError, read_corpus
from fastser.data.corpora.files import audio_files
from fastser.data.corpora.names import plain_name

DIGITS = "0123456789"
LOOKALIKES = "\u0663\u0969\uff21\uff41\uff10\xe9_- .A1"
"""Characters that a careless pattern takes for ASCII digits or letters."""


@st.composite
def edited(draw: Any, texts: st.SearchStrategy[str]) -> str:
    """Draw a text, unchanged or with one character replaced, inserted or deleted."""
    text = draw(texts)
    edit = draw(st.sampled_from(["none", "none", "replace", "insert", "delete"]))
    if edit == "none" or not text:
        return text
    at = draw(st.integers(0, len(text) - 1))
    new = "" if edit == "delete" else draw(st.sampled_from(LOOKALIKES))
    return text[:at] + new + text[at + (edit != "insert") :]


def is_number(text: str, length: int) -> bool:
    return len(text) == length and all(character in DIGITS for character in text)


def found(corpus: Corpus) -> list[tuple[str, str, str, str | None]]:
    return sorted((u.id, u.speaker, u.emotion, u.session) for u in corpus.utterances)


def assert_sound(corpus: Corpus) -> None:
    """Check the invariants that later steps rely on."""
    ids = [u.id for u in corpus.utterances]
    assert ids
    assert ids == sorted(set(ids))
    assert corpus.classes == tuple(sorted({u.emotion for u in corpus.utterances}))
    assert [corpus.classes[label] for label in corpus.labels] == [u.emotion for u in corpus.utterances]
    assert all(u.path.is_file() and u.speaker for u in corpus.utterances)
    assert len({u.split is None for u in corpus.utterances}) == 1
    assert sum(corpus.class_counts().values()) == len(ids)
    for sentence in (corpus.summary, *corpus.warnings):
        assert "\n" not in sentence


def read_or_message(name: str, path: Path) -> Corpus | str:
    """Return all utterances of a corpus, or the error message of its reader."""
    try:
        return READERS[name].read(path)
    except CorpusError as error:
        return str(error)


def assert_refused(message: str, path: Path) -> None:
    """Check that an error message is one line that begins with a path."""
    assert message.startswith(str(path))
    assert "\n" not in message


def utterances_of(name: str, path: Path) -> list[tuple[str, str, str, str | None]]:
    """Return the content of a corpus, or nothing if its reader refuses it in one line that begins with a path."""
    corpus = read_or_message(name, path)
    if isinstance(corpus, Corpus):
        return found(corpus)
    assert_refused(corpus, path)
    return []


def assert_sound_or_refused(name: str, path: Path) -> Corpus | None:
    """Return all classes of a corpus, or None if it is refused in one line that begins with a path."""
    try:
        corpus = read_corpus(name, path, classes=None)
    except CorpusError as error:
        assert_refused(str(error), path)
        return None
    assert_sound(corpus)
    return corpus


EMODB_NAMES = st.builds(
    "{:02d}{}{:02d}{}{}".format,
    st.integers(0, 20),
    st.sampled_from("ab"),
    st.integers(1, 10),
    st.sampled_from("WLEAFTN"),
    st.sampled_from(["", "a", "b", "f"]),
)


EMODB_EMOTION = {
    "W": "angry",
    "L": "bored",
    "E": "disgust",
    "A": "fearful",
    "F": "happy",
    "N": "neutral",
    "T": "sad",
}


def emodb_content(stem: str) -> tuple[str, str, str, None] | None:
    emotion = EMODB_EMOTION.get(stem[5:6])
    version = stem[6:]
    named = is_number(stem[:2], 2) and stem[2:3] in ("a", "b") and is_number(stem[3:5], 2)
    known = emotion and (version == "" or (len(version) == 1 and "a" <= version <= "z"))
    return (stem, stem[:2], emotion, None) if named and known and emotion else None


@repeatable
@given(st.lists(edited(EMODB_NAMES), min_size=1, max_size=8, unique=True))
@example(["03a01Fa", "03a01Fb", "\u0660\u0663a01Fa"])
def test_emodb_takes_exactly_the_files_that_follow_its_naming(names: list[str]) -> None:
    with folder() as root:
        for name in names:
            touch(root / "wav" / f"{name}.wav")
        expected = sorted(entry for name in names if not name.startswith(".") and (entry := emodb_content(name)))
        assert utterances_of("emodb", root) == expected


RAVDESS_NAMES = st.builds(
    lambda *fields: "-".join(f"{field:02d}" for field in fields),
    st.sampled_from([3, 3, 3, 1]),
    st.sampled_from([1, 1, 1, 2]),
    st.integers(1, 8),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 24),
)


RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def ravdess_content(stem: str) -> tuple[str, str, str, None] | None:
    fields = stem.split("-")
    if len(fields) != 7 or not all(is_number(field, 2) for field in fields) or fields[:2] != ["03", "01"]:
        return None
    if not 1 <= int(fields[2]) <= 8:
        return None
    return stem, f"Actor_{fields[6]}", RAVDESS_EMOTIONS[int(fields[2]) - 1], None


@repeatable
@given(st.lists(edited(RAVDESS_NAMES), min_size=1, max_size=8, unique=True))
def test_ravdess_takes_exactly_the_files_that_follow_its_naming(names: list[str]) -> None:
    with folder() as root:
        for name in names:
            touch(root / f"Actor_{name[-2:].strip('. ')}" / f"{name}.wav")
        expected = sorted(entry for name in names if not name.startswith(".") and (entry := ravdess_content(name)))
        assert utterances_of("ravdess", root) == expected


IEMOCAP_IDS = st.builds(
    "Ses0{}{}_{}_{}{:03d}".format,
    st.integers(1, 5),
    st.sampled_from("FM"),
    st.sampled_from(["impro01", "script01_1b"]),
    st.sampled_from("FM"),
    st.integers(0, 30),
)
IEMOCAP_LINES = st.builds(
    "[{:.4f} - {:.4f}]\t{}\t{}\t[2.5000, 2.0000, 3.0000]".format,
    st.floats(0, 300),
    st.floats(0, 300),
    IEMOCAP_IDS,
    st.sampled_from(["ang", "hap", "exc", "neu", "sad", "fru", "xxx", "sur"]),
)
IEMOCAP_EMOTION = {
    "ang": "angry",
    "hap": "happy",
    "exc": "happy",
    "neu": "neutral",
    "sad": "sad",
    "fru": "frustrated",
    "fea": "fearful",
    "sur": "surprised",
    "dis": "disgust",
    "oth": "other",
}


@repeatable
@given(st.dictionaries(IEMOCAP_IDS, st.sampled_from([*IEMOCAP_EMOTION, "xxx"]), min_size=1, max_size=8))
def test_iemocap_reads_every_written_label(labels: dict[str, str]) -> None:
    with folder() as root:
        for id, code in labels.items():
            session = root / f"Session{id[4]}"
            touch(session / "sentences" / "wav" / id[:-5] / f"{id}.wav")
            file = session / "dialog" / "EmoEvaluation" / f"{id[:-5]}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as stream:
                stream.write(f"[0.0 - 1.5]\t{id}\t{code}\t[2.5, 2.5, 2.5]\nA-E1:\tval 3;\t()\n\n")
        expected = [
            (id, f"{id[:5]}{id[-4]}", IEMOCAP_EMOTION[code], id[4])
            for id, code in sorted(labels.items())
            if code in IEMOCAP_EMOTION
        ]
        assert utterances_of("iemocap", root) == expected


@repeatable
@given(edited(IEMOCAP_LINES), st.booleans())
def test_an_edited_iemocap_line_is_read_correctly_or_named(line: str, bom: bool) -> None:
    """Check that the edit of one character yields no label that the fields of the line do not hold."""
    with folder() as root:
        fields = line.split()
        file = root / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
        file.parent.mkdir(parents=True)
        file.write_text(line + "\n", encoding="utf-8-sig" if bom else "utf-8")
        for id in {field.strip("[]") for field in fields if "/" not in field and len(field) > 8}:
            touch(root / "Session1" / "sentences" / "wav" / "Ses01F_impro01" / f"{id}.wav")
        corpus = read_or_message("iemocap", root)
        if isinstance(corpus, str):
            assert corpus.startswith(f"{file}, line 1: is not an IEMOCAP label line")
            return
        if not corpus.utterances:
            assert not (line.startswith("[") and len(fields) == 8 and fields[4] in IEMOCAP_EMOTION)
            return
        ((id, speaker, emotion, session),) = found(corpus)
        assert emotion == IEMOCAP_EMOTION[fields[4]]
        assert id == fields[3]
        assert id.isascii()
        assert (speaker, session) == (f"Ses0{id[4]}{id[-4]}", id[4])
        assert id[4] in "12345"
        assert id[-4] in "FM"
        assert is_number(id[-3:], 3)


MSP_TURNS = st.builds(
    "IMPROV-S{:02d}{}-{}{:02d}-{}-{}{:02d}".format,
    st.integers(1, 20),
    st.sampled_from("AHNS"),
    st.sampled_from("FM"),
    st.integers(1, 6),
    st.sampled_from("PRST"),
    st.sampled_from(["FM", "MF"]),
    st.integers(1, 9),
)
MSP_EMOTION = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad", "O": "other"}


@repeatable
@given(
    st.dictionaries(MSP_TURNS, st.sampled_from("AHNSOX"), min_size=1, max_size=8),
    st.sampled_from(["Evalution.txt", "Evaluation.txt"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.booleans(),
)
def test_msp_improv_reads_every_written_label(labels: dict[str, str], name: str, encoding: str, below: bool) -> None:
    with folder() as root:
        for turn in labels:
            touch(root / "Audio" / "session" / f"MSP-{turn}.wav")
        file = root / ("info" if below else "") / name
        file.parent.mkdir(exist_ok=True)
        lines = [
            f"UTD-{turn}.avi; {code}; A:3.1; V:3.0; D:2.9 ;\nWORKER00000001; {code}; A:3\n"
            for turn, code in labels.items()
        ]
        file.write_text("\n".join(lines), encoding=encoding)
        expected = [
            (f"MSP-{turn}", turn.split("-")[2], MSP_EMOTION[code], turn.split("-")[2].lstrip("FM0"))
            for turn, code in sorted(labels.items())
            if code in MSP_EMOTION
        ]
        assert utterances_of("msp-improv", root) == expected


@repeatable
@given(edited(st.builds("UTD-{}.avi; {}; A:3.1; V:3.0;".format, MSP_TURNS, st.sampled_from("AHNSOX"))))
def test_an_edited_msp_improv_line_is_read_correctly_or_named(line: str) -> None:
    with folder() as root:
        file = root / "Evalution.txt"
        file.write_text(line + "\n", encoding="utf-8")
        name, *rest = (field.strip() for field in line.split(";"))
        stem = "MSP" + name.removeprefix("UTD").rpartition(".")[0]
        if stem.startswith("MSP-"):
            touch(root / f"{stem}.wav")
        corpus = read_or_message("msp-improv", root)
        if isinstance(corpus, str):
            assert corpus.startswith(f"{file}, line 1: is not an MSP-IMPROV label line")
            return
        if not corpus.utterances:
            assert not line.startswith("UTD-") or rest[0] == "X" or not stem.startswith("MSP-")
            return
        ((id, speaker, emotion, session),) = found(corpus)
        assert (id, emotion) == (stem, MSP_EMOTION[rest[0]])
        assert id.isascii()
        assert speaker[0] in "FM"
        assert is_number(speaker[1:], 2)
        assert session == str(int(speaker[1:]))


CELLS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"], exclude_characters="/"), min_size=1, max_size=6
).filter(lambda cell: cell.strip("."))
SYNONYMS = {"anger": "angry", "ANG": "angry", "Excited": "happy", "neu": "neutral", "fear": "fearful", "Proud": "proud"}


@repeatable
@given(
    st.lists(
        st.tuples(CELLS, CELLS, st.sampled_from(list(SYNONYMS)), CELLS),
        min_size=1,
        max_size=6,
        unique_by=lambda row: row[0],
    ),
    st.permutations(["path", "speaker", "emotion", "session", "remark"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_a_manifest_gives_the_rows_that_were_written(
    rows: list[tuple[str, str, str, str]], columns: list[str], encoding: str, newline: str
) -> None:
    with folder() as root:
        with (root / "my.csv").open("w", encoding=encoding, newline="") as stream:
            writer = csv.writer(stream, lineterminator=newline)
            writer.writerow(columns)
            for name, speaker, emotion, session in rows:
                touch(root / "audio" / name)
                cells = {"path": f"audio/{name}", "speaker": speaker, "emotion": emotion, "session": session}
                writer.writerow([cells.get(column, "") for column in columns])
        expected = [
            (f"audio/{name}", plain_name(speaker), SYNONYMS[emotion], plain_name(session))
            for name, speaker, emotion, session in rows
        ]
        assert utterances_of("manifest", root / "my.csv") == sorted(expected)
        assert_sound_or_refused("manifest", root / "my.csv")


MANIFEST = """path,speaker,emotion,session,split
a.wav,ann,sad,1,train
"b.wav",bob,happy,1,test
c.wav,"c, jr",ang,2,validation
"""


@repeatable
@given(edited(st.just(MANIFEST)), edited(st.just(MANIFEST)), st.binary(max_size=4))
def test_an_edited_manifest_is_read_or_refused_in_one_sentence(text: str, other: str, tail: bytes) -> None:
    with folder() as root:
        for name in ("a.wav", "b.wav", "c.wav"):
            touch(root / name)
        for content in (
            text.encode(),
            text.encode() + tail,
            (text[: len(text) // 2] + other[len(other) // 2 :]).encode(),
        ):
            (root / "my.csv").write_bytes(content)
            if corpus := assert_sound_or_refused("manifest", root / "my.csv"):
                assert {u.split for u in corpus.utterances} in (
                    {None},
                    *({*parts} for parts in [("train",), ("test",), ("validation",)]),
                    {"train", "test"},
                    {"train", "validation"},
                    {"test", "validation"},
                    {"train", "test", "validation"},
                )


@repeatable
@given(
    st.sampled_from([name for name in READERS if name != "manifest"]),
    st.binary(max_size=60),
    st.lists(NAMES, max_size=4),
)
def test_any_folder_is_a_sound_corpus_or_refused(name: str, label_bytes: bytes, names: list[str]) -> None:
    """Check that readers raise no exception but `CorpusError`, whatever a folder holds."""
    with folder() as root:
        for file in names:
            touch(root / f"{file[:50]}.wav")
        emo_evaluation = "Session1/dialog/EmoEvaluation/a.txt"
        for label_file in (emo_evaluation, "Evalution.txt", "labels_consensus.csv", "dev_sent_emo.csv", "db.yaml"):
            (root / label_file).parent.mkdir(parents=True, exist_ok=True)
            (root / label_file).write_bytes(b"[" + label_bytes + b"\nUTD-" + label_bytes)
        assert_sound_or_refused(name, root)


@repeatable
@given(
    st.dictionaries(
        st.tuples(st.lists(st.sampled_from(["a", "b", "c"]), max_size=2).map("/".join), NAMES.map(lambda n: n[:20])),
        st.sets(st.sampled_from([".wav", ".WAV", ".flac", ".txt", ""]), min_size=1),
        max_size=6,
    ),
    st.lists(st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(["", "a", "b"])), max_size=2),
)
def test_the_walk_finds_each_recording_once(
    files: dict[tuple[str, str], set[str]], links: list[tuple[str, str]]
) -> None:
    """Check the walk over folders that may hold links to their parents."""
    with folder() as root:
        expected = set()
        for (parent, name), suffixes in files.items():
            stem = name + "_"  # no ending of its own
            for suffix in suffixes:
                touch(root / parent / (stem + suffix))
            order = [s for s in (".WAV", ".wav", ".flac") if s in suffixes]
            if order:
                expected.add(root / parent / (stem + order[0]))
        for name, target in links:
            if (root / target).is_dir() and not (root / name).is_symlink():
                (root / name).symlink_to(root / target, target_is_directory=True)
        assert {path.resolve() for path in audio_files(root)} == {path.resolve() for path in expected}
        assert len(audio_files(root)) == len(expected)
