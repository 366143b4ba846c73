"""MELD, and corpora in its form."""

from pathlib import Path

import pytest
from corpus_trees import touch, write_lines

from fastser.data.corpora import READERS, Corpus, CorpusError
from fastser.data.corpora.attribution import ATTRIBUTIONS, attribution_of

pytestmark = pytest.mark.fast

MELD = ["Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID", '1,"Oh, no",Ross,joy,positive,0,1']


def meld_tree(root: Path, *parts: str) -> None:
    for part in parts:
        write_lines(root / f"{part}_sent_emo.csv", [*MELD, f"2,Hi,Amy {part},Anger,negative,0,2"])
        touch(*(root / f"{part}_splits" / f"dia0_utt{i}.wav" for i in (1, 2)))


def test_meld_with_its_own_split(tmp_path: Path) -> None:
    meld_tree(tmp_path, "train", "dev", "test")
    (tmp_path / "dev_splits" / "dia0_utt1.wav").unlink()
    corpus = READERS["meld"].read(tmp_path)
    assert [(u.id, u.speaker, u.emotion, u.split) for u in corpus.utterances] == [
        ("train/dia0_utt1", "Ross", "happy", "train"),
        ("train/dia0_utt2", "Amy train", "angry", "train"),
        ("dev/dia0_utt2", "Amy dev", "angry", "validation"),
        ("test/dia0_utt1", "Ross", "happy", "test"),
        ("test/dia0_utt2", "Amy test", "angry", "test"),
    ]
    assert all(f"{u.id.partition('/')[0]}_splits" in u.path.parts for u in corpus.utterances)
    assert [u.text for u in corpus.utterances] == ["Oh, no", "Hi", "Hi", "Oh, no", "Hi"]
    assert corpus.without_audio == (("dev/dia0_utt1", "happy"),)
    assert any("Ross (test, train)" in warning for warning in corpus.warnings)


def test_meld_without_the_clips_that_its_release_lacks_is_complete(tmp_path: Path) -> None:
    lines = [MELD[0], "1,Hm,Amy,neutral,neutral,125,3", "2,Hi,Amy,neutral,neutral,110,7"]
    for part in ("train", "dev", "test"):
        write_lines(tmp_path / f"{part}_sent_emo.csv", lines)
    without = [id for id, _ in read(tmp_path).without_audio]
    assert without == ["train/dia110_utt7", "dev/dia125_utt3", "test/dia125_utt3", "test/dia110_utt7"]


def test_one_part_of_meld_has_no_split(tmp_path: Path) -> None:
    meld_tree(tmp_path, "train")
    assert {u.split for u in READERS["meld"].read(tmp_path).utterances} == {None}


def test_audio_of_meld_without_folders_for_the_parts_is_refused(tmp_path: Path) -> None:
    meld_tree(tmp_path, "train", "dev")
    touch(tmp_path / "wav" / "dia0_utt1.wav")
    with pytest.raises(CorpusError, match=r"could belong to train or dev; put each part into a folder"):
        READERS["meld"].read(tmp_path)


def read(path: Path) -> Corpus:
    return READERS["meld"].read(path)


def ids(corpus: Corpus) -> list[str]:
    return [u.id for u in corpus.utterances]


def test_only_the_official_names_are_meld(tmp_path: Path) -> None:
    meld_tree(tmp_path / "a", "train", "dev", "test")
    official = read(tmp_path / "a")
    assert (official.title, official.complete, attribution_of(official)) == ("MELD", False, ATTRIBUTIONS["meld"])
    (tmp_path / "a").rename(tmp_path / "sitcom")
    for part, name in (("train", "Train"), ("dev", "valid"), ("test", "my_test")):
        (tmp_path / "sitcom" / f"{part}_sent_emo.csv").rename(tmp_path / "sitcom" / f"{name}.CSV")
    (tmp_path / "sitcom" / "dev_splits").rename(tmp_path / "sitcom" / "validation")
    write_lines(tmp_path / "sitcom" / "speakers_train.csv", ["Speaker,Age", "Ross,30"])
    other = read(tmp_path / "sitcom")
    assert (other.title, other.complete) == ("sitcom", None)
    assert [(u.id, u.split, u.text) for u in other.utterances] == [(u.id, u.split, u.text) for u in official.utterances]
    attribution = attribution_of(other)
    assert attribution is not None
    assert not attribution.citation
    assert not attribution.audio_may_be_shared


def test_parts_named_by_folders_and_columns_of_another_spelling(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write_lines(tmp_path / part / "labels.csv", ["emotion,SPEAKER, dialogue id,UtteranceID", "joy,Amy,0,1"])
        touch(tmp_path / part / "dia0_utt1.mp3")
    corpus = read(tmp_path)
    assert [(u.id, u.split, u.text) for u in corpus.utterances] == [
        ("train/dia0_utt1", "train", None),
        ("dev/dia0_utt1", "validation", None),
        ("test/dia0_utt1", "test", None),
    ]


def test_one_table_takes_the_audio_of_its_part(tmp_path: Path) -> None:
    meld_tree(tmp_path, "train", "test")
    corpus = read(tmp_path / "test_sent_emo.csv")
    assert (ids(corpus), corpus.title, corpus.complete) == (
        ["test/dia0_utt1", "test/dia0_utt2"],
        "test_sent_emo.csv",
        None,
    )
    assert {u.path.parent.name for u in corpus.utterances} == {"test_splits"}
    (tmp_path / "test_sent_emo.csv").rename(tmp_path / "test_splits" / "labels.csv")
    assert ids(read(tmp_path / "test_splits" / "labels.csv")) == ["dia0_utt1", "dia0_utt2"]


def test_the_final_videos_of_the_test_part_replace_the_first_ones(tmp_path: Path) -> None:
    meld_tree(tmp_path, "test")
    touch(tmp_path / "test_splits" / "final_videos_testdia0_utt1.flac")
    names = [u.path.name for u in read(tmp_path).utterances]
    assert names == ["final_videos_testdia0_utt1.flac", "dia0_utt2.wav"]


DYADIC = "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID,Old_Dialogue_ID,Old_Utterance_ID"


def test_the_dyadic_variant_names_the_audio_by_its_old_numbers(tmp_path: Path) -> None:
    lines = [DYADIC, "Hi,Amy,joy,0,0,7,1", "Hi,Amy,joy,1,0,7,1", "No,Bob,anger,1,1,7,3"]
    write_lines(tmp_path / "dev_sent_emo_dya.csv", lines)
    touch(*(tmp_path / f"dia{d}_utt{u}.wav" for d, u in ((7, 1), (7, 3), (1, 0), (0, 0))))
    assert ids(read(tmp_path)) == ["dev/dia7_utt1", "dev/dia7_utt3"]
    write_lines(tmp_path / "dev_sent_emo_dya.csv", [*lines, "Hi,Amy,sadness,2,0,7,1"])
    with pytest.raises(CorpusError, match="line 5: dia7_utt1 has another speaker or emotion in line 2"):
        read(tmp_path)


def test_emorynlp(tmp_path: Path) -> None:
    header = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode"
    lines = [header, "Coffee.,['Rachel Green'],Neutral,2,1,1,15", "\"Hi!\",\"['Ross', 'Mr. O']\",Joyful,2,3,1,15"]
    write_lines(tmp_path / "emorynlp_dev_final.csv", lines)
    touch(*(tmp_path / f"sea1_ep15_sc2_utt{i}.wav" for i in (1, 3)))
    assert [(u.id, u.speaker, u.emotion, u.text) for u in read(tmp_path).utterances] == [
        ("dev/sea1_ep15_sc2_utt1", "Rachel Green", "neutral", "Coffee."),
        ("dev/sea1_ep15_sc2_utt3", "Ross, Mr. O", "happy", "Hi!"),
    ]


@pytest.mark.parametrize(
    ("tables", "part"),
    [
        ({"train.csv": "Dialogue_ID,Utterance_ID,Emotion"}, "train.csv: has no column Speaker, only Dialogue_ID"),
        ({"a.csv": None, "b.csv": None}, "b.csv: could be the same part as .*a.csv; name the parts"),
        ({"val.csv": None, "x/dev.csv": None}, "dev.csv: could be the same part as .*val.csv"),
        ({"train.csv": None, "a.csv": None}, "a.csv: is a table beside .*train.csv, but its name does not tell"),
        ({"train_test.csv": None}, "train_test.csv: its name could mean train or test; name one part"),
        ({"train.csv": "Scene_ID,Utterance_ID,Speaker,Emotion"}, "is not MELD; give the folder that holds"),
        (
            {"train.csv": f"{MELD[0]}\n1,Hi,Ross,joy,positive,0,x"},
            r"line 2: needs numbers \(Dialogue_ID, Utterance_ID\)",
        ),
    ],
)
def test_tables_that_cannot_be_told_apart(tmp_path: Path, tables: dict[str, str | None], part: str) -> None:
    for name, header in tables.items():
        write_lines(tmp_path / name, [header or MELD[0]])
    with pytest.raises(CorpusError, match=part):
        read(tmp_path)
