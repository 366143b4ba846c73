"""Selection of classes, titles, and corpora as JSON."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from fastser.data.corpora import Corpus, CorpusError, NoiseCorpus, Utterance, distinct_titles, emodb


def corpus_of(emotions: Sequence[str], **fields: object) -> Corpus:
    """Make an EMO-DB with one utterance of each given emotion, ids in reverse order."""
    utterances = [
        Utterance(f"u{9 - i}", Path(f"u{9 - i}.wav"), f"s{i % 2}", emotion) for i, emotion in enumerate(emotions)
    ]
    return Corpus("emodb", "EMO-DB", Path("data/emodb"), tuple(utterances), expected=emodb.EXPECTED, **fields)


@pytest.mark.fast
def test_the_order_of_classes_decides_the_labels() -> None:
    corpus = corpus_of(["sad", "bored", "angry", "sad", "calm"])
    selected = corpus.select(("sad", "angry"))
    assert selected.classes == ("sad", "angry")
    assert [(u.id, label) for u, label in zip(selected.utterances, selected.labels, strict=True)] == [
        ("u6", 0),
        ("u7", 1),
        ("u9", 0),
    ]
    assert selected.left_out == (("bored", 1), ("calm", 1))
    assert corpus.select(None).classes == ("angry", "bored", "calm", "sad")
    assert selected.select(("angry", "sad")).left_out == selected.left_out


@pytest.mark.fast
@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            ("sad", "proud", "calm"),
            r"^data/emodb: EMO-DB has no utterance of proud, calm \(labelled but without audio: 1\); "
            r"its labels are angry \(2\), sad \(1\); choose among them with --classes$",
        ),
        (("sad", "angry", "sad"), "^data/emodb: the class 'sad' is chosen 2 times; name it once in --classes$"),
        (("sad",), "^data/emodb: EMO-DB needs at least two classes, got sad; its labels are angry"),
        ((), "^data/emodb: EMO-DB needs at least two classes, got none; its labels are angry"),
    ],
)
def test_classes_that_cannot_be_selected(classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        corpus_of(["sad", "angry", "angry"], without_audio=(("u0", "calm"),)).select(classes)


def test_all_labels_must_be_at_least_two() -> None:
    with pytest.raises(CorpusError, match=r"needs at least two classes, got sad; its labels are sad \(2\)"):
        corpus_of(["sad", "sad"]).select(None)


def test_a_corpus_refuses_utterances_outside_its_classes() -> None:
    with pytest.raises(CorpusError, match="has utterances of bored, but its classes are angry, sad"):
        corpus_of(["sad", "bored"], classes=("angry", "sad"))


def test_a_class_without_published_count_leaves_the_copy_unjudged() -> None:
    corpus = corpus_of(["sad", "proud"]).select(("sad", "proud"))
    assert corpus.complete is None
    assert corpus.summary == "EMO-DB: 2 utterances, 2 speakers"


@pytest.mark.fast
def test_a_corpus_survives_json() -> None:
    corpus = corpus_of(["sad", "bored", "angry"], without_audio=(("u0", "sad"),)).select(("sad", "angry"))
    adapter = TypeAdapter(Corpus)
    again = adapter.validate_json(adapter.dump_json(corpus))
    assert again == corpus
    assert (again.labels, again.summary, again.warnings) == (corpus.labels, corpus.summary, corpus.warnings)


def titles(*corpora: Corpus | NoiseCorpus) -> list[str]:
    return [corpus.title for corpus in distinct_titles(corpora)]


def manifest(path: str, *, synthetic: bool = False) -> Corpus:
    name = Path(path).name
    return Corpus("manifest", f"synthetic {name}" if synthetic else name, Path(path), (), synthetic=synthetic)


@pytest.mark.fast
def test_equal_titles_get_the_names_of_their_folders() -> None:
    assert titles(manifest("/x/a/l.csv"), manifest("/x/b/l.csv"), manifest("/x/m.csv")) == [
        "a/l.csv",
        "b/l.csv",
        "m.csv",
    ]
    assert titles(manifest("/x/a/l.csv"), manifest("/y/a/l.csv")) == ["x/a/l.csv", "y/a/l.csv"]
    assert titles(manifest("/a/l.csv"), manifest("/x/a/l.csv")) == ["a/l.csv", "x/a/l.csv"]
    assert titles(manifest("a/l.csv", synthetic=True), manifest("b/l.csv", synthetic=True)) == [
        "synthetic a/l.csv",
        "synthetic b/l.csv",
    ]
    copies = [Corpus("emodb", "EMO-DB", Path(f"/data/{name}"), ()) for name in ("old", "new")]
    assert titles(*copies) == ["old/EMO-DB", "new/EMO-DB"]
    assert distinct_titles(copies)[0].summary == "old/EMO-DB: 0 utterances, 0 speakers"


def test_titles_stay_equal_only_for_the_same_path() -> None:
    assert titles(manifest("/x/l.csv"), manifest("/x/y/../l.csv")) == ["l.csv", "l.csv"]
    assert titles(manifest("/x/l.csv"), manifest("/x/l.csv"), manifest("/y/l.csv")) == ["x/l.csv", "x/l.csv", "y/l.csv"]
    noise = NoiseCorpus("folder", "city", Path("/noise/city"), ())
    assert titles(manifest("/x/city"), noise) == ["x/city", "noise/city"]
