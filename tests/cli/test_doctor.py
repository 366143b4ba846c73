"""The doctor: findings on the console and on its page, folds, exit status."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from commands import write_manifest, write_noise
from fastser_kernels.native.library import Native
from fastser_kernels.trust.verdict import Verdict

from fastser.cli import doctor_kernels, doctor_machine
from fastser.cli.doctor_options import DoctorOptions
from fastser.doctor import doctor
from fastser.settings import PAPER, PAPER_CLASSES, QUICK
from fastser.training import precision


@pytest.fixture(autouse=True)
def quick_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the self-test of the kernels, which has tests of its own."""
    verdicts = [Verdict("lstm", "float32", "s", "", 1.0, 2.0), Verdict("highway", "float32", "s", "", 3.0, 2.0)]
    monkeypatch.setattr(doctor_kernels, "kernel_verdicts", lambda *_: (verdicts, True))


def test_a_healthy_corpus_and_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path / "corpus.csv", PAPER_CLASSES)
    write_noise(tmp_path / "noise" / "park" / "1.wav", 1, seconds=1)
    out = tmp_path / "out"
    options = DoctorOptions(
        source=f"manifest={manifest}",
        noise=f"folder={tmp_path / 'noise'}",
        out=out,
        device="cpu",
        set=("noise.scenes=park", "protocol.min_validation_utterances=1"),
    )
    assert doctor(options) == 0
    printed = capsys.readouterr().out
    assert "no leakage: no speaker and no recording is on both sides of any fold" in printed
    assert "every scene has a recording that is as long as the longest utterance (0.5 s)" in printed
    assert "0 errors" in printed
    assert printed.endswith(f"page: {out / 'doctor.md'}\nin a browser: {out / 'doctor.html'}\n")
    assert (out / "doctor.html").read_text("utf-8").count("data:image/png") == 2
    page = (out / "doctor.md").read_text()
    titles = ["This machine", "Corpus: corpus.csv", "Folds: corpus.csv (angry, happy, neutral, sad)", "Noise: noise"]
    shown = [line for line in printed.splitlines() if line in {*titles, "Kernels"}]
    assert shown == [*titles, "Kernels"]  # the slow self-tests are last
    assert "## Folds: corpus.csv (angry, happy, neutral, sad)" in page
    assert "| s0 | 2 | 2 | 2 | 2 |" in re.sub(" +", " ", page)
    with (out / "folds" / "corpus-csv.csv").open() as stream:
        folds = list(csv.DictReader(stream))
    assert len(folds) == 4 * 32
    assert {row["file"] for row in folds} == {
        f"wav/{s}-{e}-{t}.wav" for s in range(4) for e in PAPER_CLASSES for t in (0, 1)
    }
    with (out / "files" / "corpus-csv.csv").open() as stream:
        assert {(row["rate"], row["problem"]) for row in csv.DictReader(stream)} == {("16000", "")}
    for name in ("levels.png", "durations.png"):
        assert f"({name})" in page
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_shared_texts_are_a_note_that_says_how_many_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_manifest(tmp_path / "m.csv", ("angry", "sad"), takes=1)
    header, *rows = manifest.read_text().splitlines()
    with_texts = [f"{row},{'Where have you been?' if 'sad' in row else ''}" for row in rows]
    manifest.write_text("\n".join([f"{header},text", *with_texts]))
    assert doctor(DoctorOptions(source=f"manifest={manifest}", out=tmp_path / "out", device="cpu")) == 0
    known = f"The texts of {len(rows) // 2} of {len(rows)} utterances are known"
    assert f"on both sides of 4 folds (up to 1 text): scores are for known texts. {known}" in capsys.readouterr().out


def test_the_page_shows_what_a_file_of_options_gave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.toml"
    file.write_text('device = "cpu"\n')
    monkeypatch.setattr("sys.argv", ["doctor", "--config", str(file)])
    assert doctor(DoctorOptions(out=tmp_path / "out", device="cpu")) == 0
    page = (tmp_path / "out" / "doctor.md").read_text()
    assert f"`python -m fastser.doctor --config {file}  # {file} gives --device=cpu`" in page


def test_status_1_for_a_leak_between_speakers_and_between_corpora(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (write_manifest(tmp_path / name / "m.csv", ("angry", "sad"), takes=1) for name in "ab")
    soundfile.write(tmp_path / "a/wav/1-sad-0.wav", soundfile.read(tmp_path / "a/wav/0-sad-0.wav")[0], 16_000)
    for file in (tmp_path / "b" / "wav").iterdir():
        samples, rate = soundfile.read(file)
        soundfile.write(file, np.flip(samples) / 20, rate)
    soundfile.write(tmp_path / "b/wav/2-sad-0.wav", soundfile.read(tmp_path / "a/wav/3-sad-0.wav")[0] / 20, 16_000)
    options = DoctorOptions(source=f"manifest={first}", target=f"manifest={second}", out=tmp_path / "out", device="cpu")
    assert doctor(options) == 1
    printed = capsys.readouterr().out
    assert "wav/0-sad-0.wav = wav/1-sad-0.wav (s0, s1)" in printed.replace("= (same samples)", "=")
    assert "the audio of test utterances is also in training or validation of" in printed
    assert "share 1 recording: wav/2-sad-0.wav = wav/3-sad-0.wav" in printed
    assert "b/m.csv is 26 dB quieter than a/m.csv" in printed
    assert {path.name for path in (tmp_path / "out" / "folds").iterdir()} == {"a-m-csv.csv", "b-m-csv.csv"}


def test_too_few_speakers_are_an_error_and_not_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path / "m.csv", ("angry", "sad"), speakers=2, takes=1)
    assert doctor(DoctorOptions(source=f"manifest={manifest}", out=tmp_path / "out", device="cpu")) == 1
    assert "there are no folds: m.csv: leave-one-speaker-out needs at least 3 speakers" in capsys.readouterr().out
    assert (tmp_path / "out" / "doctor.md").is_file()


def test_a_class_that_the_corpus_lacks_is_refused_before_anything_is_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_manifest(tmp_path / "m.csv", ("angry", "sad"), speakers=1, takes=1)
    assert doctor(DoctorOptions(source=f"manifest={manifest}", classes="angry,proud", out=tmp_path / "out")) == 2
    assert "has no utterance of proud" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_under_two_labels_is_an_error_of_the_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path / "m.csv", ("angry", "sad"), speakers=1, takes=1)
    manifest.write_text(manifest.read_text() + "./wav/0-sad-0.wav,s0,angry\n")
    assert doctor(DoctorOptions(source=f"manifest={manifest}", out=tmp_path / "out", device="cpu")) == 1
    assert "are the same file under two labels or speakers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"source": "emodb"}, "--source emodb: expected NAME=PATH, such as emodb=/data/EMODB"),
        ({"source": "/"}, "a folder of your own needs a manifest first, python -m fastser.manifest / --pattern"),
        ({"noise": "/data/noise"}, "--noise /data/noise: expected NAME=PATH, such as folder=/data/noise"),
        ({"source": "emodbs=x"}, "did you mean 'emodb'"),
        ({"noise": "folder=none"}, "none: does not exist"),
        ({"device": "tpu"}, "--device tpu"),
        ({"set": ("audio.rate=1",)}, "there is no setting 'audio.rate'"),
    ],
)
def test_status_2_for_arguments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, object], part: str
) -> None:
    assert doctor(DoctorOptions(**({"out": tmp_path / "out", "device": "cpu"} | options))) == 2  # type: ignore[arg-type]
    assert part in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_machine_without_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_kernels, "native", lambda: Native(reason="this installation has none"))
    section = doctor_kernels.kernel_section(QUICK, torch.device("cpu"), lambda _: None)
    (finding,) = section.findings
    assert finding.severity == "warning"
    assert finding.sentence.endswith("without compiled kernels: this installation has none")


def test_the_machine_with_a_slow_and_with_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = [Verdict("lstm", "float32", "s", "", 3.0, 2.0), Verdict("highway", "float32", "s", "off by 7")]
    monkeypatch.setattr(doctor_kernels, "native", lambda: Native("v3", "", object()))  # type: ignore[arg-type]
    monkeypatch.setattr(doctor_kernels, "kernel_verdicts", lambda *_: (verdicts, False))
    findings = doctor_kernels.kernel_section(QUICK, torch.device("cpu"), lambda _: None).findings
    said = {finding.severity: finding.sentence for finding in findings if "in float32 is" in finding.sentence}
    assert said["note"].endswith("because the kernel is slower here: 3 ms instead of 2 ms")
    assert said["error"] == "the kernel of highway in float32 is not used: off by 7"
    assert any("1 of 2 agree" in finding.sentence for finding in findings)


@pytest.mark.parametrize(
    ("fast", "said"),
    [
        (True, "precision: bfloat16 in training, float32 in tests at scale paper, float32 at scale quick"),
        (False, "precision: float32"),
    ],
)
def test_the_precision_of_another_scale_is_said_where_it_differs(
    monkeypatch: pytest.MonkeyPatch, fast: bool, said: str
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16_fast", lambda _: fast)
    monkeypatch.setattr(precision, "first_wrong", lambda _: None)
    findings = doctor_machine.machine_section(PAPER, torch.device("cpu")).findings
    assert any(finding.sentence.endswith(said) for finding in findings)
