"""The command `python -m fastser.predict` in the test's own process."""

import csv
import hashlib
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from kept_models import Keep, Kept

import fastser
from fastser.cli.predict_options import PredictOptions
from fastser.predict import predict
from fastser.recognition import packaged_models
from fastser.recognition.predictions import PredictionFile, PredictionsError, timedelta_text


@pytest.fixture
def kept(keep: Keep) -> Kept:
    return keep("cnn")


def files(kept: Kept, number: int = 3) -> list[str]:
    return [str(path) for path in list(kept.audio.values())[:number]]


def run(kept: Kept | None, *inputs: str, **options: Any) -> int:
    model = () if kept is None else (str(kept.file),)
    return predict(PredictOptions(inputs=(*model, *inputs), **options))


@pytest.mark.fast
def test_predictions_on_standard_output_have_the_index_of_audformat(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(kept, *files(kept)) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    recogniser = fastser.load_model(kept.file)
    expected = [recogniser.predict(path)[0] for path in files(kept)]
    assert list(rows[0]) == ["file", "start", "end", "label", "p_angry", "p_happy", "p_neutral", "p_sad"]
    for row, record in zip(rows, expected, strict=True):
        assert (row["file"], row["label"]) == (record["file"], record["label"])
        assert (row["start"], row["end"]) == ("0 days 00:00:00", timedelta_text(record["end"]))
        assert float(row["p_sad"]) == pytest.approx(record["p_sad"], abs=1e-6)


@pytest.mark.fast
def test_durations_are_written_as_pandas_does() -> None:
    texts = {0.0: "0 days 00:00:00", 1.89825: "0 days 00:00:01.898250", 90061.0: "1 days 01:01:01"}
    assert {seconds: timedelta_text(seconds) for seconds in texts} == texts
    assert timedelta_text(59.9999999) == "0 days 00:01:00"


def give_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Give the command a standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def contents(path: Path) -> tuple[list[list[str]], list[list[float]]]:
    """Return the index and the labels of predictions, and their posteriors."""
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    index = ("file", "start", "end", "label")
    numbers = [[float(value) for name, value in row.items() if name not in index] for row in rows]
    return [[str(row[name]) for name in index] for row in rows], numbers


@pytest.mark.parametrize("per", ["file", "segment"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_an_interrupted_file_is_continued(kept: Kept, tmp_path: Path, per: str, suffix: str) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    for out in (whole, cut):
        assert run(kept, *files(kept), out=out, per=per) == 0
    if suffix == ".jsonl":
        assert {json.loads(line)["file"] for line in whole.read_text().splitlines()} == {*files(kept)}
    text, expected = whole.read_bytes(), contents(whole)
    for size in (len(text) - 1, len(text) // 2, 3, 0):
        cut.write_bytes(text[:size])
        assert run(kept, *files(kept), out=cut, per=per) == 0
        names, numbers = contents(cut)
        assert names == expected[0]
        np.testing.assert_allclose(numbers, expected[1], rtol=0, atol=2e-6)


@pytest.mark.fast
def test_files_that_the_output_holds_are_skipped(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "folder" / "predictions.csv"
    give_input(monkeypatch, "\n".join([*files(kept, 2), ""]).encode())
    assert run(kept, "-", out=out) == 0
    assert "2 files labelled" in capsys.readouterr().out
    assert run(kept, *files(kept), out=out) == 0
    assert "1 file labelled" in (said := capsys.readouterr().out)
    assert "2 already in the file" in said
    text = out.read_bytes()
    other = Kept(tmp_path / "other.safetensors", {}, kept.recorded)
    other.file.write_bytes(kept.file.read_bytes())
    for model, options, difference in (
        (kept, {"per": "segment"}, "--per file (now --per segment)"),
        (
            kept,
            {"format": "jsonl", "hop": 0.5},
            "--format csv (now --format jsonl) and the default --hop (now --hop 0.5)",
        ),
        (
            other,
            {},
            f"the model {kept.file.name} of SHA-256 {hashlib.sha256(kept.file.read_bytes()).hexdigest()[:8]} (now",
        ),
    ):
        assert run(model, *files(kept), out=out, **options) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {out}: was written with {difference}")
        assert said.endswith("; give another --out, or remove it\n")
    (tmp_path / "folder" / "predictions.csv.json").unlink()
    assert run(kept, *files(kept), out=out) == 2
    assert "predictions.csv.json does not tell which model" in capsys.readouterr().err
    assert out.read_bytes() == text


@pytest.mark.fast
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_empty_lines_are_left_out_and_damaged_ones_are_named(
    suffix: str, kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"p{suffix}"
    assert run(kept, *files(kept, 2), out=out) == 0
    text = out.read_bytes()
    *lines, last = text.splitlines(keepends=True)
    out.write_bytes(b"\n".join([*lines, last]) + b"\n")
    assert run(kept, *files(kept, 2), out=out) == 0
    assert "2 already in the file" in capsys.readouterr().out
    assert out.read_bytes() == text
    number = len(lines) + 1
    for damaged in (last[:20] + b"\n", b"3\n", b"\xff" + last):
        out.write_bytes(b"".join([*lines, damaged]))
        assert run(kept, *files(kept, 2), out=out) == 2
        assert f"error: {out}: line {number} is damaged; repair it" in capsys.readouterr().err
        assert out.read_bytes().endswith(damaged)


@pytest.mark.fast
def test_predictions_without_their_first_line_are_not_continued(tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    PredictionFile(out, ("sad",), "csv", {}).close()
    out.write_text("a.wav,0 days 00:00:00,0 days 00:00:01,sad,1.0\n")
    with pytest.raises(PredictionsError, match="line 1 is damaged"):
        PredictionFile(out, ("sad",), "csv", {})


@pytest.mark.fast
def test_two_commands_do_not_write_one_file(tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    first = PredictionFile(out, ("sad",), "jsonl", {})
    with pytest.raises(PredictionsError, match=r"p\.jsonl: another command writes this file"):
        PredictionFile(out, ("sad",), "jsonl", {})
    first.add([{"file": "a.wav", "start": 0.0, "end": 1.0, "label": "sad", "p_sad": 1.0}])
    first.close()
    second = PredictionFile(out, ("sad",), "jsonl", {})
    second.close()
    assert second.done == {"a.wav"}


def test_kernels_that_cannot_be_loaded_are_one_sentence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    command = [sys.executable, "-m", "fastser.predict", str(tmp_path / "a.wav")]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"FASTSER_NATIVE": "v9"})
    assert ended.returncode == 2
    _, error = ended.stderr.splitlines()
    assert error.startswith("error: FASTSER_NATIVE=v9: ")


@pytest.mark.fast
def test_a_list_may_hold_file_names_that_are_not_utf8(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    Path(os.fsdecode(path)).write_bytes(Path(files(kept, 1)[0]).read_bytes())
    give_input(monkeypatch, path + b"\n")
    assert run(kept, "-") == 0
    assert "caf\\xe9.wav,0 days" in capsys.readouterr().out


@pytest.mark.fast
def test_audio_on_standard_input_is_refused_in_one_sentence(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_input(monkeypatch, Path(files(kept, 1)[0]).read_bytes())
    assert run(kept, "-") == 2
    assert capsys.readouterr().err == (
        "error: standard input is no list of files; save audio in a file and give its path\n"
    )


@pytest.mark.fast
def test_a_file_name_that_standard_output_cannot_encode_is_escaped(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(screen, encoding="ascii", write_through=True))
    assert run(kept, *files(kept, 1), out=tmp_path / "café.csv") == 0
    assert b"caf\\xe9.csv: 1 file labelled" in screen.getvalue()


@pytest.mark.fast
def test_unusable_files_are_named_and_skipped(kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").write_text("no audio")
    soundfile.write(tmp_path / "b.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    assert run(kept, str(tmp_path), out=tmp_path / "p.csv") == 1
    said = capsys.readouterr()
    assert f"error: {tmp_path / 'a.wav'}: is not audio" in said.err
    assert "1 file labelled" in said.out
    assert "1 unusable" in said.out
    assert run(kept, str(tmp_path / "a.wav")) == 2
    assert capsys.readouterr().out == ""  # no header without a prediction
    assert run(kept, str(tmp_path / "a.wav"), *files(kept, 1)) == 1
    assert [line[:5] for line in capsys.readouterr().out.splitlines()] == ["file,", files(kept, 1)[0][:5]]


@pytest.mark.fast
def test_files_shorter_than_a_segment_are_named(kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abcde":
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 3200), 16_000)
    assert run(kept, str(tmp_path), *files(kept, 1)) == 0
    first, *others = capsys.readouterr().err.splitlines()
    assert first == (f"note: {tmp_path}/a.wav: 0.2 s, shorter than a segment of the model (0.7 s); the rest is padded")
    assert others[2:] == ["note: the same for 2 more files"]


@pytest.mark.fast
def test_unusable_arguments_are_one_sentence(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged_models, "FOLDER", tmp_path)
    one = files(kept, 1)
    for model, inputs, options, message in (
        (None, one, {}, "no packaged model; give MODEL"),
        (None, ["gone.safetensors", *one], {}, "gone.safetensors: there is no such model"),
        (None, ["mine.pt", *one], {}, "mine.pt: models of the form .pt cannot be read; give the path of"),
        (kept, [], {}, "there is no file to label"),
        (kept, ["gone.wav"], {}, "gone.wav: there is no such file or folder"),
        (kept, [str(tmp_path)], {}, "the folder holds no audio file"),
        (kept, one, {"per": "word"}, "--per word: expected file or segment"),
        (kept, one, {"format": "xml"}, "--format xml: expected csv or jsonl"),
        (kept, one, {"out": Path("p.xlsx")}, "--out p.xlsx: the ending .xlsx is none of .csv, .jsonl, .ndjson; change"),
        (kept, one, {"plot": Path("p.svg")}, "--plot p.svg: the timeline is a PNG image; expected the ending .png"),
        (
            kept,
            one,
            {"hop": 0.0, "out": tmp_path / "p.csv"},
            "--hop 0: expected from 0.01 s to 0.64 s, the length of one segment of this model",
        ),
        (kept, one, {"hop": math.inf}, "--hop inf: expected from 0.01 s"),
        (kept, files(kept), {"plot": tmp_path / "p.png"}, "--plot draws one file, and 3 are given"),
        (kept, one, {"out": tmp_path}, f"--out {tmp_path} cannot be written: Is a directory"),
        (kept, one, {"plot": kept.file / "p.png"}, f"--plot {kept.file}/p.png cannot be written: Not a directory"),
        (kept, one, {"device": "abacus"}, "--device abacus"),
    ):
        assert run(model, *inputs, **options) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.err.count("\n") == 1
        assert "label" not in said.out
    assert not list(tmp_path.glob("p.*"))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("out", "format", "kind"),
    [("p", None, "csv"), ("p.CSV", None, "csv"), ("p.ndjson", None, "jsonl"), ("p.txt", "jsonl", "jsonl")],
)
def test_the_format_is_that_of_the_ending_or_of_the_option(out: str, format: str | None, kind: str) -> None:
    assert PredictOptions(out=Path(out), format=format).chosen_format() == kind


def test_the_packaged_model_needs_no_name_and_a_timeline_is_drawn(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged_models, "FOLDER", tmp_path)
    (tmp_path / "small.safetensors").write_bytes(kept.file.read_bytes())
    assert run(None, *files(kept, 1), plot=tmp_path / "timeline.png") == 0
    without_name = capsys.readouterr().out
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert run(None, "small", *files(kept, 1)) == 0
    assert capsys.readouterr().out == without_name


@pytest.mark.fast
@pytest.mark.parametrize("door", ["predict", "train"])
def test_help_does_not_import_torch(door: str) -> None:
    code = f"import sys; sys.argv = ['{door}', '--help']; from fastser.{door} import main; main()"
    ended = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0
    assert "Exit status: 0" in ended.stdout
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert f"fastser.cli.{door}_options" in imported
    assert not {"torch", "numpy", "matplotlib"} & imported


@pytest.mark.fast
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_relative_paths_of_another_folder_are_other_files(
    suffix: str, kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, out = "one\u2028line.wav", tmp_path / f"p{suffix}"
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        soundfile.write(folder / name, np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    monkeypatch.chdir(tmp_path / "a")
    assert [run(kept, name, out=out) for _ in range(2)] == [0, 0]
    assert "1 already in the file" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "b")
    assert run(kept, name, out=out) == 2
    difference = f"paths relative to {tmp_path}/a (now paths relative to {tmp_path}/b)"
    assert f"{out}: was written with {difference}; give another --out" in capsys.readouterr().err


@pytest.mark.fast
def test_a_folder_with_the_name_of_a_packaged_model_is_labelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = packaged_models.default_model().stem
    (tmp_path / name).mkdir()
    soundfile.write(tmp_path / name / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    monkeypatch.chdir(tmp_path)
    assert predict(PredictOptions(inputs=(name,))) == 0
    assert f"{name}/a.wav" in capsys.readouterr().out
