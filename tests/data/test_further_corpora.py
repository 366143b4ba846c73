"""Readers of CREMA-D, SAVEE, EMOVO and MSP-Podcast."""

from dataclasses import replace
from pathlib import Path

import pytest
from corpus_trees import touch, write_lines

from fastser.data.corpora import (
    READERS,
    Corpus,
    CorpusError,
    Utterance,
    crema_d,
    emovo,
    msp_podcast,
    read_corpus,
    savee,
)
from fastser.data.corpora.attribution import ATTRIBUTIONS
from fastser.experiment.descriptions import corpus_record

pytestmark = pytest.mark.fast


def listed(corpus: Corpus) -> list[tuple[str, str, str]]:
    return [(u.id, u.speaker, u.emotion) for u in corpus.utterances]


def test_crema_d(tmp_path: Path) -> None:
    names = (
        "1001_DFA_ANG_XX",
        "1002_IEO_HAP_HI",
        "1040_ITH_SAD_X",
        "1001_DFA_JOY_XX",
        "1001_DFA_ANG",
        "1076_MTI_SAD_XX",
    )
    touch(*(tmp_path / "AudioWAV" / f"{name}.wav" for name in names))
    corpus = read_corpus("crema-d", tmp_path, None)
    assert listed(corpus) == [
        ("1001_DFA_ANG_XX", "1001", "angry"),
        ("1002_IEO_HAP_HI", "1002", "happy"),
        ("1040_ITH_SAD_X", "1040", "sad"),
    ]
    assert [u.text for u in corpus.utterances] == ["DFA", "IEO", "ITH"]
    assert "3 of 7441 utterances; the copy is INCOMPLETE" in corpus.summary


@pytest.mark.parametrize("form", ["{}_{}", "{}/{}", "AudioData/{}/{}"])
def test_savee_layouts(tmp_path: Path, form: str) -> None:
    touch(*(tmp_path / f"{form.format('DC', name)}.wav" for name in ("a01", "sa02", "su03", "x04")))
    corpus = read_corpus("savee", tmp_path, None)
    assert listed(corpus) == [("DC_a01", "DC", "angry"), ("DC_sa02", "DC", "sad"), ("DC_su03", "DC", "surprised")]
    assert [u.text for u in corpus.utterances] == ["a01", "sa02", "su03"]


def test_the_folder_of_one_speaker_of_savee(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "KL" / "n01.wav", tmp_path / "KL" / "h01.wav")
    monkeypatch.chdir(tmp_path / "KL")
    assert [u.speaker for u in read_corpus("savee", Path(), None).utterances] == ["KL", "KL"]


def test_emovo(tmp_path: Path) -> None:
    touch(*(tmp_path / "f1" / f"{name}.wav" for name in ("dis-f1-b1", "gio-f1-l2", "pau-m3-n5", "foo-f1-b1")))
    corpus = read_corpus("emovo", tmp_path, None)
    assert listed(corpus) == [
        ("dis-f1-b1", "f1", "disgust"),
        ("gio-f1-l2", "f1", "happy"),
        ("pau-m3-n5", "m3", "fearful"),
    ]
    assert [u.text for u in corpus.utterances] == ["b1", "l2", "n5"]


@pytest.mark.parametrize(("module", "total", "speakers"), [(crema_d, 7441, 91), (savee, 480, 4), (emovo, 588, 6)])
def test_published_totals(module: object, total: int, speakers: int) -> None:
    expected = module.EXPECTED  # type: ignore[attr-defined]
    assert (expected.total, expected.speakers) == (total, speakers)


def test_a_copy_with_all_utterances_of_too_few_speakers_is_told_apart(tmp_path: Path) -> None:
    for group in savee.EXPECTED.groups:
        code = next(code for code, emotion in savee._EMOTION.items() if emotion == group.emotion)
        touch(*(tmp_path / f"{s}_{code}{i:02d}.wav" for s in ("DC", "JE", "JK", "KL") for i in range(group.count // 4)))
    corpus = read_corpus("savee", tmp_path, None)
    assert corpus.summary == "SAVEE: 480 utterances, 4 speakers; the copy is complete"
    merged = [replace(u, speaker="DC") if u.speaker == "KL" else u for u in corpus.utterances]
    assert savee.EXPECTED.differences(merged) == ["speakers: 3 of 4"]


PODCAST = [
    "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set",
    "MSP-PODCAST_0001_0008.wav,N,2.2,4,3.8,127,Female,Train",
    "MSP-PODCAST_0002_0033.wav,A,5.2,2,4.8,Unknown,Unknown,Test2",
    "MSP-PODCAST_0002_0039.wav,X,5.2,2,4.8,128,Male,Development",
    "MSP-PODCAST_0003_0001_0002.wav,C,5.2,2,4.8,128,Male,Development",
    "MSP-PODCAST_0004_0001.wav,H,5.2,2,4.8,129,Male,Test1",
]


@pytest.mark.parametrize("labels", ["Labels/labels_consensus.csv", "labels_concensus.csv"])
def test_msp_podcast(tmp_path: Path, labels: str) -> None:
    write_lines(tmp_path / labels, PODCAST)
    names = ("0001_0008", "0002_0033", "0002_0039", "0003_0001_0002")
    touch(*(tmp_path / "Audios" / f"MSP-PODCAST_{name}.wav" for name in names))
    corpus = read_corpus("msp-podcast", tmp_path, None)
    assert [(u.id[12:], u.speaker, u.emotion, u.split) for u in corpus.utterances] == [
        ("0001_0008", "127", "neutral", "train"),
        ("0002_0033", "unknown in podcast 0002", "angry", "test"),
        ("0003_0001_0002", "128", "contempt", "validation"),
    ]
    assert corpus.without_audio == (("MSP-PODCAST_0004_0001", "happy"),)


def test_the_release_of_msp_podcast_is_that_with_as_many_labels_in_each_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(msp_podcast.RELEASES["release 2.0"].values()) == 264_705  # the labelled turns on the corpus' page
    monkeypatch.setitem(msp_podcast.RELEASES, "x", {"train": 1, "development": 2, "test1": 1, "test2": 1})
    write_lines(tmp_path / "labels_consensus.csv", [*PODCAST, "MSP-PODCAST_0005_0001.wav,A,,,,1,Male,Test3"])
    touch(tmp_path / "MSP-PODCAST_0001_0008.wav")
    corpus = READERS["msp-podcast"].read(tmp_path)
    assert corpus.summary == "MSP-Podcast: 1 utterance, 1 speaker; as many labels as in x"
    write_lines(tmp_path / "labels_consensus.csv", PODCAST[:-1])
    assert READERS["msp-podcast"].read(tmp_path).release is None


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("MSP-PODCAST_0001_0009.wav,Z,2,4,3,127,Female,Train", "line 7: is not an MSP-Podcast label line"),
        ("MSP-PODCAST_0001_0009.wav,N,2,4,3,127,Female,Probe", "line 7: is not an MSP-Podcast label line"),
        ("other.wav,N,2,4,3,127,Female,Train", "line 7: is not an MSP-Podcast label line"),
        ('"open', "line 7: is not a CSV file"),
    ],
)
def test_a_label_line_of_msp_podcast_that_does_not_parse(tmp_path: Path, line: str, part: str) -> None:
    write_lines(tmp_path / "labels_consensus.csv", [*PODCAST, line])
    with pytest.raises(CorpusError, match=part):
        read_corpus("msp-podcast", tmp_path)


@pytest.mark.parametrize("name", ["crema-d", "savee", "emovo", "msp-podcast", "meld", "audformat"])
def test_a_path_that_is_not_that_corpus(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=f"^{tmp_path}: "):
        read_corpus(name, tmp_path)


def test_every_published_corpus_has_a_citation_and_a_licence() -> None:
    assert ATTRIBUTIONS.keys() == READERS.keys() - {"audformat", "manifest"}
    assert all(known.citation and known.licence for known in ATTRIBUTIONS.values())


def test_a_record_of_a_corpus_names_the_reader_of_its_attribution() -> None:
    utterances = (Utterance("1", Path("1.wav"), "ann", "sad"),)
    corpora = [
        Corpus("crema-d", "CREMA-D", Path("/c"), utterances),
        Corpus("crema-d", "synthetic CREMA-D", Path("/c"), utterances, synthetic=True),
        Corpus("meld", "sitcom", Path("/c"), utterances),
        Corpus("manifest", "mine.csv", Path("/c"), utterances),
    ]
    records = [corpus_record(corpus, utterances) for corpus in corpora]
    assert [record["reader"] for record in records] == ["crema-d", None, None, None]
    assert records[0]["citation"] == ATTRIBUTIONS["crema-d"].citation
