"""Segments of longer recordings: lists of them, times, files without loss, continuation, faults."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import audformat
import numpy as np
import pytest
import soundfile as sf
from corpus_trees import write_lines

from fastser.data.corpora import CorpusError, read_corpus
from fastser.data.cutting import cut, cutter, overlaps_of_speakers, read_segments
from fastser.data.cutting.names import segment_names
from fastser.data.cutting.times import seconds_of

RATE = 8000
HEADER = "file,start,end,speaker,emotion"


def write_recording(path: Path, seconds: float = 2.0, channels: int = 1, **form: str) -> None:
    """Write noise that differs between names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.name.encode()))
    sf.write(path, rng.uniform(-0.5, 0.5, (int(seconds * RATE), channels)), RATE, **form)


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a list of segments beside the recordings a.wav and b.wav of two seconds."""

    def write(*lines: str) -> Path:
        for name in ("a.wav", "talks/b.wav"):
            if not (tmp_path / name).exists():
                write_recording(tmp_path / name)
        write_lines(tmp_path / "segments.csv", lines)
        return tmp_path / "segments.csv"

    return write


def cut_all(source: Path | str, out: Path) -> tuple[cutter.Cut, list[str]]:
    """Cut a list, and return what was done, with the name of the recording of each segment that was cut."""
    names: list[str] = []
    return cut(read_segments(str(source)), out, lambda _: names.append), names


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.5", 1.5),
        (" 2 ", 2),
        ("1e-3", 0.001),
        ("1.5s", 1.5),
        ("0 days 00:00:01.5", 1.5),
        ("0 days", 0),
        ("1 days 01:02:03.000000250", 90_123.00000025),
        ("0 days +00:00:01", 1),
        ("01:02:03", 3723),
        ("P0DT0H0M1.5S", 1.5),
        ("PT1M", 60),
        ("", None),
        ("NaT", None),
        ("nan", None),
    ],
)
def test_times(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.fast
@pytest.mark.parametrize("text", ["-1", "-1 days +23:59:58", "1,5", "one", "P", "PT", "inf", "1e999", "1:2"])
def test_texts_that_are_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; give seconds"):
        seconds_of(text)


@pytest.mark.fast
def test_a_list_becomes_files_and_a_manifest_with_all_its_columns(tmp_path: Path, table: Callable[..., Path]) -> None:
    path = table(
        "Path, Start, end, speaker, text, emotion, split, session",
        'a.wav, 0.25, 0.75, ann, "well, hello", anger, train, 1',
        "talks/b.wav, 0 days 00:00:00.5, , bob, no, sad, test, 2",
        "a.wav, 0.5, 1.5, cleo, yes, sad, validation, 1",
    )
    done, names = cut_all(path, tmp_path / "out")
    assert names == ["a.wav", "a.wav", "talks/b.wav"]
    assert (done.new, done.kept, done.recordings) == (3, 0, 2)
    assert done.manifest.read_text().splitlines() == [
        "path,speaker,emotion,session,split,file,start,end,text",
        'audio/a_0.250-0.750.wav,ann,anger,1,train,a.wav,0.250,0.750,"well, hello"',
        "audio/talks/b_0.500-end.wav,bob,sad,2,test,talks/b.wav,0.500,,no",
        "audio/a_0.500-1.500.wav,cleo,sad,1,validation,a.wav,0.500,1.500,yes",
    ]
    corpus = read_corpus("manifest", done.manifest, None)
    assert [(u.speaker, u.emotion, u.split) for u in corpus.utterances] == [
        ("ann", "angry", "train"),
        ("cleo", "sad", "validation"),
        ("bob", "sad", "test"),
    ]
    whole, _ = sf.read(tmp_path / "a.wav", dtype="int16")
    piece, rate = sf.read(tmp_path / "out" / "audio" / "a_0.250-0.750.wav", dtype="int16")
    assert rate == RATE
    assert np.array_equal(piece, whole[2000:6000])
    assert len(sf.read(tmp_path / "out" / "audio" / "talks" / "b_0.500-end.wav")[0]) == 12_000


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "written", "loudness"),
    [
        ("a.flac", "PCM_16", 1),
        ("24.flac", "PCM_24", 1),
        ("32.wav", "PCM_32", 1),
        ("float.wav", "FLOAT", 8),
        ("double.wav", "DOUBLE", 8),
        ("u8.wav", "PCM_16", 1),
        ("ulaw.wav", "PCM_16", 1),
        ("opus.ogg", "FLOAT", 1),
    ],
)
def test_nothing_is_lost(tmp_path: Path, name: str, written: str, loudness: float) -> None:
    subtypes = {"24": "PCM_24", "32": "PCM_32", "u8": "PCM_U8"}
    subtype = subtypes.get(Path(name).stem, "PCM_16" if name == "a.flac" else Path(name).stem.upper())
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 2)) * loudness
    sf.write(tmp_path / name, samples, RATE, subtype=subtype)
    write_lines(tmp_path / "segments.csv", [HEADER, f"{name},0.25,0.5,ann,sad"])
    cut_all(tmp_path / "segments.csv", tmp_path / "out")
    piece = tmp_path / "out" / "audio" / f"{Path(name).stem}_0.250-0.500.wav"
    assert sf.info(piece).subtype == written
    whole, _ = sf.read(tmp_path / name)
    assert np.array_equal(sf.read(piece)[0], whole[2000:4000])
    header, _, _ = piece.read_bytes().partition(b"data")
    _, _, peak = header.partition(b"PEAK")
    assert bool(peak) == (written in ("FLOAT", "DOUBLE"))
    assert not any(peak[8:12]), "the time of writing makes other keys of the same samples"


@pytest.mark.fast
def test_the_same_call_continues(tmp_path: Path, table: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"a.wav,{i},{i + 0.5},ann,sad" for i in (0, 1)] + ["talks/b.wav,0,1,bob,angry"]
    path, out = table(HEADER, *rows), tmp_path / "out"
    real, written = sf.write, []

    def interrupted(file: Path, *arguments: Any, **form: Any) -> None:
        real(file, *arguments, **form)
        written.append(file)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(cutter.sf, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cut_all(path, out)
    assert [file.name for file in out.rglob("*") if file.is_file()] == ["cut.json", "a_0.000-0.500.wav"]
    monkeypatch.setattr(cutter.sf, "write", real)
    first = out / "audio" / "a_0.000-0.500.wav"
    before = first.stat().st_mtime_ns
    done, names = cut_all(path, out)
    assert (done.new, done.kept, names) == (2, 1, ["a.wav", "talks/b.wav"])
    assert first.stat().st_mtime_ns == before
    manifest = done.manifest.read_bytes()
    again, names = cut_all(path, out)
    assert (again.new, again.kept, names) == (0, 3, [])
    assert again.manifest.read_bytes() == manifest


@pytest.mark.fast
def test_segments_of_a_changed_recording_are_cut_again(tmp_path: Path, table: Callable[..., Path]) -> None:
    path, out = table(HEADER, "a.wav,0,1,ann,sad", "talks/b.wav,0,1,bob,angry"), tmp_path / "out"
    cut_all(path, out)
    sf.write(tmp_path / "a.wav", np.full(2 * RATE, 0.25), RATE)
    os.utime(tmp_path / "a.wav", ns=(1, 1))
    done, names = cut_all(path, out)
    assert (done.new, done.kept, names) == (1, 1, ["a.wav"])
    assert set(sf.read(out / "audio" / "a_0.000-1.000.wav")[0]) == {0.25}


@pytest.mark.fast
def test_a_file_of_another_recording_is_not_taken_for_a_segment(tmp_path: Path, table: Callable[..., Path]) -> None:
    write_recording(tmp_path / "a.flac")
    rows, out = ["a.wav,0,1,ann,sad", "a.flac,0,1,bob,sad"], tmp_path / "out"
    for listed in (rows[:1], rows, rows[1:]):
        done, _ = cut_all(table(HEADER, *listed), out)
    assert (done.new, done.kept) == (1, 0)
    piece, _ = sf.read(out / "audio" / "a_0.000-1.000.wav")
    assert np.array_equal(piece, sf.read(tmp_path / "a.flac")[0][:RATE])


@pytest.mark.fast
def test_a_segment_that_returns_to_the_list_is_not_of_the_recording_before_its_change(
    tmp_path: Path, table: Callable[..., Path]
) -> None:
    rows, out = ["a.wav,0,1,ann,sad", "a.wav,1,2,ann,sad"], tmp_path / "out"
    cut_all(table(HEADER, *rows), out)
    sf.write(tmp_path / "a.wav", np.full(2 * RATE, 0.25), RATE)
    os.utime(tmp_path / "a.wav", ns=(1, 1))
    cut_all(table(HEADER, rows[0]), out)
    done, _ = cut_all(table(HEADER, *rows), out)
    assert (done.new, done.kept) == (1, 1)
    assert set(sf.read(out / "audio" / "a_1.000-2.000.wav")[0]) == {0.25}


@pytest.mark.fast
def test_no_recording_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "audio"
    for name in ("a.wav", "a_0.000-1.000.wav"):
        write_recording(folder / name)
    write_lines(folder / "segments.csv", [HEADER, "a.wav,0,1,ann,sad", "a_0.000-1.000.wav,0,1,bob,sad"])
    before = (folder / "a_0.000-1.000.wav").read_bytes()
    with pytest.raises(CorpusError, match=r"a_0.000-1.000.wav: is a recording of .*segments.csv, and a segment has"):
        cut_all(folder / "segments.csv", tmp_path / "out")
    assert (folder / "a_0.000-1.000.wav").read_bytes() == before


@pytest.mark.fast
def test_another_list_or_a_manifest_of_the_user_is_not_overwritten(tmp_path: Path, table: Callable[..., Path]) -> None:
    path = table(HEADER, "a.wav,0,1,ann,sad")
    cut_all(path, tmp_path / "out")
    other = path.rename(tmp_path / "other.csv")
    with pytest.raises(CorpusError, match=r"out: holds segments of .*segments.csv; give another OUT"):
        cut_all(other, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.csv").write_text("mine")
    (tmp_path / "heard" / "audio").mkdir(parents=True)
    with pytest.raises(CorpusError, match=r"heard.audio: exists, and was not written by this command"):
        cut_all(other, tmp_path / "heard")
    with pytest.raises(CorpusError, match=r"manifest.csv: exists, and was not written by this command"):
        cut_all(other, tmp_path / "mine")
    (tmp_path / "out" / "cut.json").write_text("{")
    with pytest.raises(CorpusError, match=r"cut.json: is damaged"):
        cut_all(other, tmp_path / "out")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("rows", "part"),
    [
        (["a.wav,1,0.5,ann,sad"], "line 2: ends at 0.5 s, not after its start at 1 s"),
        (["a.wav,0,1,ann,sad", "c.wav,0,1,ann,sad"], "line 3: there is no file c.wav"),
        (["a.wav,0,1,ann,sad", "./a.wav,0.0,0 days 00:00:01,bob,sad"], "line 3: is the same segment of ./a.wav as lin"),
        (["a.wav,0,1,,sad"], "line 2: speaker is empty"),
        (["a.wav,,1,ann,sad"], "line 2: start is empty"),
        (["a.wav,NaT,1,ann,sad"], "line 2: start is empty"),
        (["a.wav,0,1,ann,sad", "a.wav,1e-11,1,bob,sad"], "line 3: is the same segment of a.wav as line 2"),
        (
            ["a.wav,0,soon,ann,sad", "a.wav,0,1,ann"],
            "2 faults: line 3: 4 cells, not 5 as in the header; line 2: end: 'soon' is no time",
        ),
        (["a.wav,0,soon,ann,sad"], "line 2: end: 'soon' is no time; give seconds, such as 1.5"),
        ([], "lists no segment below its header"),
    ],
)
def test_a_list_with_faults(tmp_path: Path, table: Callable[..., Path], rows: Sequence[str], part: str) -> None:
    with pytest.raises(CorpusError) as refusal:
        cut_all(table(HEADER, *rows), tmp_path / "out")
    assert part in str(refusal.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.fast
def test_faults_of_recordings_do_not_stop_the_others(tmp_path: Path, table: Callable[..., Path]) -> None:
    write_recording(tmp_path / "c.wav")
    os.truncate(tmp_path / "c.wav", 9000)
    rows = [
        "a.wav,0,2.2,ann,sad",
        "a.wav,3,,ann,sad",
        "a.wav,1,2.05,ann,sad",
        "c.wav,0,1,ann,sad",
        "talks/b.wav,0,1,b,sad",
    ]
    path, out = table(HEADER, *rows), tmp_path / "out"
    with pytest.raises(CorpusError) as refusal:
        cut_all(path, out)
    said = str(refusal.value)
    assert f"{path}: 3 faults: line 2: a.wav ends at 2 s, but the segment at 2.2 s; line 3: a.wav ends at 2 s" in said
    assert "line 5: c.wav " in said
    assert "truncated" in said
    assert said.endswith("; 2 of 5 segments are cut and kept, and the same command continues after a correction")
    assert not (out / "manifest.csv").exists()
    table(HEADER, *rows[2:3], *rows[4:])
    done, names = cut_all(path, out)
    assert (done.new, done.kept, names) == (0, 2, [])
    assert len(sf.read(out / "audio" / "a_1.000-2.050.wav")[0]) == RATE


@pytest.mark.fast
def test_recordings_with_similar_names_have_files_of_their_own(tmp_path: Path) -> None:
    for name in ("in/a.wav", "in/a.flac", "in/A.wav", "b.wav"):
        write_recording(tmp_path / name)
    rows = ["a.wav,0,1,ann,sad", "a.flac,0,1,ann,sad", "A.wav,0,1,ann,sad", "../b.wav,0,1,ann,sad"]
    write_lines(tmp_path / "in" / "segments.csv", [HEADER, *rows])
    names = segment_names(read_segments(str(tmp_path / "in" / "segments.csv")))
    assert len({name.lower() for name in names}) == 4
    assert all(".." not in name and not name.startswith("/") for name in names)


@pytest.mark.fast
def test_segments_that_share_audio_with_another_speaker(table: Callable[..., Path]) -> None:
    rows = [
        "a.wav,1.5,1.8,ann,sad",
        "a.wav,0,1,ann,sad",
        "a.wav,1,1.6,bob,sad",
        "a.wav,0.5,0.9,ann,sad",
        "talks/b.wav,0,,ann,sad",
        "./talks/b.wav,1.9,2,bob,sad",
    ]
    found = overlaps_of_speakers(read_segments(str(table(HEADER, *rows))))
    assert [(segment.file, segment.start) for segment in found] == [("a.wav", 1.5), ("./talks/b.wav", 1.9)]


@pytest.mark.fast
def test_segmented_tables_of_audformat(tmp_path: Path) -> None:
    files = ["wav/0.wav", "wav/0.wav", "wav/1.wav"]
    db = audformat.Database("mini", source="generated", usage="research")
    db.schemes["emotion"] = audformat.Scheme(labels=["anger", "sadness"])
    db["turns"] = audformat.Table(audformat.segmented_index(files, ["0s", "0.5s", "0s"], ["0.5s", "1.5s", None]))
    db["turns"]["emotion"] = audformat.Column(scheme_id="emotion")
    db["turns"]["emotion"].set(["anger", "sadness", None])
    db["turns"]["speaker"] = audformat.Column()
    db["turns"]["speaker"].set(["ann", "bob", "ann"])
    db["turns"]["text"] = audformat.Column()
    db["turns"]["text"].set(["go away", None, "yes"])
    db.save(tmp_path)
    for file in {*files}:
        write_recording(tmp_path / file)
    (tmp_path / "SYNTHETIC.txt").write_text("made up\n")
    done, _ = cut_all(f"audformat={tmp_path}", tmp_path / "out")
    assert done.manifest.read_text().splitlines() == [
        "path,speaker,emotion,file,start,end,text",
        "audio/wav/0_0.000-0.500.wav,ann,anger,wav/0.wav,0.000,0.500,go away",
        "audio/wav/0_0.500-1.500.wav,bob,sadness,wav/0.wav,0.500,1.500,",
    ]
    assert read_corpus("manifest", done.manifest, None).synthetic
    with pytest.raises(CorpusError, match=r"emodb=x: the recordings of emodb are not cut; give audformat=FOLDER"):
        read_segments("emodb=x")
