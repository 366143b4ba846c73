"""Databases in audformat: tables as CSV and parquet, speakers, splits, segments, and folders that audb writes."""

import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import audformat
import pandas as pd
import pytest
from corpus_trees import touch, write_lines, write_noise

from fastser.data.corpora import READERS, Corpus, CorpusError, read_corpus

FILES = [f"wav/{i}.wav" for i in range(4)]
LABELS = ["anger", "sadness", "anger", None]


def read(path: Path) -> Corpus:
    return READERS["audformat"].read(path)


def listed(corpus: Corpus) -> list[tuple[str, str, str, str | None]]:
    return [(u.id, u.speaker, u.emotion, u.split) for u in corpus.utterances]


def database() -> audformat.Database:
    """Return a database with the schemes of emotion and speaker, and without tables."""
    db = audformat.Database("mini", source="generated", usage="research")
    db.schemes["emotion"] = audformat.Scheme(labels=["anger", "sadness"])
    db.schemes["speaker"] = audformat.Scheme("int")
    for part in ("train", "dev", "test"):
        db.splits[part] = audformat.Split(part)
    return db


def add(db: audformat.Database, name: str, index: pd.Index, split: str | None = None, **columns: object) -> None:
    """Add a table whose columns have the schemes of their names, or none where there is no such scheme."""
    db[name] = audformat.Table(index, split_id=split)
    for column, values in columns.items():
        db[name][column] = audformat.Column(scheme_id=column if column in db.schemes else None)
        db[name][column].set(values)


def filewise(*files: str) -> pd.Index:
    return audformat.filewise_index([*files])


def two_tables() -> audformat.Database:
    db = database()
    add(db, "emotion", filewise(*FILES), emotion=LABELS)
    add(db, "files", filewise(*FILES), speaker=[3, 8, 3, 8])
    return db


def parts() -> audformat.Database:
    db = database()
    for i, part in enumerate(("train", "dev", "test")):
        add(db, f"emotion.{part}", filewise(FILES[i], FILES[3]), part, emotion=["anger", None])
    add(db, "files", filewise(*FILES), speaker=[3, 8, 9, None])
    return db


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(db: audformat.Database, kind: str = "csv") -> Path:
        touch(*(tmp_path / file for file in FILES))
        db.save(tmp_path, storage_format=kind)
        return tmp_path

    return save


@pytest.mark.fast
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_folder_and_one_of_its_tables(saved: Callable[..., Path], kind: str) -> None:
    folder = saved(two_tables(), kind)
    corpus = read(folder)
    assert corpus.title == "mini"
    assert listed(corpus) == [
        ("wav/0.wav", "3", "angry", None),
        ("wav/1.wav", "8", "sad", None),
        ("wav/2.wav", "3", "angry", None),
    ]
    assert read(folder / f"db.emotion.{kind}").utterances == read(folder / "db.yaml").utterances == corpus.utterances


@pytest.mark.fast
def test_texts_are_those_of_any_table_that_can_be_read(saved: Callable[..., Path]) -> None:
    db = two_tables()
    add(db, "transcripts", filewise(FILES[0], FILES[1]), transcription=["Oh, no", None])
    add(db, "lost", filewise(FILES[2]), text=["Hi"])
    folder = saved(db)
    (folder / "db.lost.csv").unlink()
    assert [u.text for u in read(folder).utterances] == ["Oh, no", None, None]


@pytest.mark.fast
def test_the_split_of_tables(saved: Callable[..., Path]) -> None:
    folder = saved(parts())
    assert sorted(listed(read(folder))) == [
        ("wav/0.wav", "3", "angry", "train"),
        ("wav/1.wav", "8", "angry", "validation"),
        ("wav/2.wav", "9", "angry", "test"),
    ]
    assert [(u.id, u.split) for u in read(folder / "db.emotion.dev.csv").utterances] == [("wav/1.wav", None)]


@pytest.mark.fast
def test_files_without_audio_and_without_speakers(saved: Callable[..., Path]) -> None:
    db = two_tables()
    db.drop_tables("files")
    folder = saved(db)
    (folder / FILES[0]).unlink()
    corpus = read(folder)
    assert corpus.without_audio == (("wav/0.wav", "angry"),)
    assert corpus.speakers == ("unknown",)


@pytest.mark.fast
def test_speaker_and_emotion_from_the_labels_of_other_schemes(saved: Callable[..., Path]) -> None:
    db = database()
    db["sessions"] = audformat.MiscTable(pd.Index(["s1", "s2"], name="session"))
    db["sessions"]["speaker"] = audformat.Column()
    db["sessions"]["speaker"].set(["03", "08"])
    db.schemes["session"] = audformat.Scheme("str", labels="sessions")
    db.schemes["prompt"] = audformat.Scheme(labels={"p1": {"emotion": "anger"}, "p2": {"emotion": "sadness"}})
    add(db, "files", filewise(*FILES[:2]), session=["s1", "s2"], prompt=["p2", "p1"])
    assert listed(read(saved(db, "parquet"))) == [
        ("wav/0.wav", "03", "sad", None),
        ("wav/1.wav", "08", "angry", None),
    ]


@pytest.mark.fast
def test_the_column_that_raters_agreed_on(saved: Callable[..., Path]) -> None:
    db = database()
    db.raters["gold"] = audformat.Rater("vote")
    db["ratings"] = audformat.Table(filewise(*FILES[:2]))
    for column, rater, values in (("a", None, ["anger", "anger"]), ("voted", "gold", ["sadness", "anger"])):
        db["ratings"][column] = audformat.Column(scheme_id="emotion", rater_id=rater)
        db["ratings"][column].set(values)
    assert [u.emotion for u in read(saved(db)).utterances] == ["sad", "angry"]
    db["ratings"].columns["voted"].rater_id = None
    with pytest.raises(CorpusError, match=r"several columns of the scheme 'emotion' \(a, voted\)"):
        read(saved(db))


def segments(ends: Sequence[object]) -> audformat.Database:
    db = database()
    add(db, "turns", audformat.segmented_index(FILES[:3], ["0s"] * 3, [*ends]), emotion=LABELS[:3])
    return db


@pytest.mark.fast
def test_a_segmented_table_of_whole_files(saved: Callable[..., Path]) -> None:
    assert [u.id for u in read(saved(segments([pd.NaT] * 3))).utterances] == FILES[:3]


@pytest.mark.fast
def test_segments_are_refused_with_the_command_that_cuts_them(saved: Callable[..., Path]) -> None:
    folder = saved(segments(["1.5s", pd.NaT, pd.NaT]))
    command = rf"python -m fastser.cut audformat={folder} OUT"
    with pytest.raises(CorpusError, match=f"db.turns.csv: labels segments .* wav/0.wav from 0 s to 1.5 s; .*{command}"):
        read(folder)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("file", "lines", "part"),
    [
        ("db.emotion.dev.csv", ["file,emotion", "wav/0.wav,sadness"], r"emotion.dev and emotion.train give wav/0.wav"),
        (
            "db.emotion.dev.csv",
            ["file,emotion", "wav/0.wav,anger"],
            r"wav/0.wav belongs to the parts validation and train",
        ),
        ("db.emotion.dev.csv", ["file,emotion", *(f"wav/1.wav,{x}" for x in ("anger", "sadness"))], r"gives wav/1.wav"),
        ("db.files.csv", ["file,speaker", "wav/0.wav,10", "wav/2.wav,"], r"wav/1.wav has no speaker, .* \(2 of 3 have"),
        ("db.files.csv", ["file,speaker", "wav/3.wav,10"], r"wav/[012].wav has no speaker, .* \(3 of 3 have none\)"),
        ("db.emotion.dev.csv", ["emotion,file", "anger,wav/1.wav"], r"has the columns emotion, file, but db.yaml says"),
        ("db.emotion.dev.csv", ["file", "wav/1.wav"], r"db.emotion.dev.csv: cannot be read .*emotion"),
        ("db.emotion.dev.parquet", ["PAR1"], r"db.emotion.dev.parquet: cannot be read .*db.emotion.dev.parquet"),
        ("db.yaml", ["tables: [1"], r"db.yaml: cannot be read .*expected ',' or ']'"),
        ("db.yaml", ["name"], r"is not the header of an audformat database"),
        ("db.yaml", ["name: x"], r"db.yaml: cannot be read .*"),
        ("db.yaml", ["name: x", "source: y", "usage: research"], r"describes no tables"),
        ("db.yaml", ["name: x", "source: y", "usage: research", "tables: {a: 3}"], r"db.yaml: cannot be read"),
    ],
)
def test_a_folder_that_cannot_be_read(saved: Callable[..., Path], file: str, lines: list[str], part: str) -> None:
    folder = saved(parts())
    write_lines(folder / file, lines)
    with pytest.raises(CorpusError, match=part) as refusal:
        read(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.fast
def test_tables_that_are_missing_or_have_no_emotion(saved: Callable[..., Path]) -> None:
    folder = saved(two_tables())
    with pytest.raises(CorpusError, match=r"the table 'files' must have a column .*; tables that have one are emotion"):
        read(folder / "db.files.csv")
    (folder / "db.emotion.csv").unlink()
    with pytest.raises(CorpusError, match=r"db.emotion.csv: is missing, and so is db.emotion.parquet; copy"):
        read(folder)


class Attack:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.file,)


@pytest.mark.fast
def test_no_pickle_and_no_python_object_is_read(saved: Callable[..., Path], tmp_path: Path) -> None:
    folder, ran = saved(two_tables()), tmp_path / "ran"
    (folder / "db.emotion.pkl").write_bytes(pickle.dumps(Attack(ran)))
    assert len(read(folder).utterances) == 3
    (folder / "db.emotion.csv").unlink()
    with pytest.raises(CorpusError, match=r"db.emotion.pkl: is a pickle, which could run any code"):
        read(folder)
    with (folder / "db.yaml").open("a") as header:
        header.write(f"meta: !!python/object/apply:os.mkdir ['{ran}']\n")
    with pytest.raises(CorpusError, match=r"db.yaml: cannot be read"):
        read(folder)
    assert not ran.exists()


@pytest.mark.fast
def test_without_the_library_the_sentence_names_the_extra(
    saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(two_tables())
    monkeypatch.setitem(sys.modules, "audformat", None)
    with pytest.raises(CorpusError, match=r"db.yaml: reading it needs .* pip install 'fastser\[audformat\]'"):
        read(folder)


def test_a_database_that_audb_has_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import audb
    import audbackend

    db = two_tables()
    db["persons"] = audformat.MiscTable(pd.Index([3, 8], name="person", dtype="Int64"))
    db.schemes["speaker"].set_labels([3, 8])
    db.schemes["speaker"].replace_labels("persons")
    starts, ends = ["0s", "0.05s", "0s"], ["0.05s", pd.NaT, pd.NaT]
    add(db, "turns", audformat.segmented_index([FILES[0], FILES[0], FILES[1]], starts, ends), emotion=LABELS[:3])
    db.attachments["marker"] = audformat.Attachment("SYNTHETIC.txt")
    build = tmp_path / "build"
    for file in FILES:
        write_noise(build / file, 8000)
    (build / "SYNTHETIC.txt").write_text("made up\n")
    db.save(build, storage_format="csv")
    db["files"].save(build / "db.files", storage_format="parquet")
    (build / "db.files.csv").unlink()

    (tmp_path / "host").mkdir()
    audbackend.backend.FileSystem.create(str(tmp_path / "host"), "repository")
    repository = audb.Repository("repository", str(tmp_path / "host"), "file-system")
    monkeypatch.setattr(audb.config, "REPOSITORIES", [repository])
    monkeypatch.setattr(audb.config, "CACHE_ROOT", str(tmp_path / "cache"))
    monkeypatch.setattr(audb.config, "SHARED_CACHE_ROOT", str(tmp_path / "shared"))
    audb.publish(build, "1.0.0", repository, verbose=False)
    cached = Path(audb.load("mini", version="1.0.0", verbose=False).root)
    audb.load_to(tmp_path / "copy", "mini", version="1.0.0", verbose=False)

    names = {path.name for path in cached.glob("db.*.*")}
    assert {"db.emotion.csv", "db.emotion.pkl", "db.files.parquet", "db.persons.csv"} <= names
    for folder in (cached, tmp_path / "copy"):
        corpus = read_corpus("audformat", folder, None)
        assert corpus.summary == "synthetic mini: 3 utterances, 2 speakers; generated, not recorded"
        assert [(u.id, u.speaker, u.emotion) for u in corpus.utterances] == [
            ("wav/0.wav", "3", "angry"),
            ("wav/1.wav", "8", "sad"),
            ("wav/2.wav", "3", "angry"),
        ]
        with pytest.raises(CorpusError, match=r"python -m fastser.cut"):
            read(folder / "db.turns.csv")
    converted = Path(audb.load("mini", version="1.0.0", format="flac", verbose=False).root)
    assert [(u.id, u.path.name) for u in read(converted).utterances] == [(f, f"{f[4]}.flac") for f in FILES[:3]]
