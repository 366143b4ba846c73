"""The frame of a command: errors and interruptions as one sentence with an exit status."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fastser_kernels.fallback_warning import FallbackWarning
from fastser_kernels.native.library import NativeError
from fastser_kernels.trust.trusted import LostDeviceError

from fastser.cli.compare_options import CompareOptions
from fastser.cli.cut_options import CutOptions
from fastser.cli.doctor_options import DoctorOptions
from fastser.cli.door import run_command, status_of
from fastser.cli.manifest_options import ManifestOptions
from fastser.cli.options import CliOptions
from fastser.cli.predict_options import PredictOptions
from fastser.data.corpora import CorpusError
from fastser.evaluation.model_error import ModelError
from fastser.experiment.executors import ExecutorError
from fastser.experiment.results_folder import ResultsError
from fastser.runtime.errors import UserError
from fastser.training.state import TrainingError


@pytest.mark.fast
@pytest.mark.parametrize(
    "kind",
    [CorpusError, ExecutorError, LostDeviceError, ModelError, NativeError, ResultsError, TrainingError, UserError],
)
def test_an_error_of_the_user_is_one_sentence(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise kind("give another folder")

    assert status_of(run, "") == 2
    assert capsys.readouterr().err == "error: give another folder\n"


@pytest.mark.fast
def test_a_warning_of_fastser_is_one_sentence_and_another_one_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []

    def run(_: object) -> int:
        kinds = FallbackWarning, UserWarning
        printed.extend(warnings.formatwarning(kind("slow here"), kind, "dense.py", 7, "x = 1") for kind in kinds)
        return 0

    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # restored after the test
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["doctor"])
    with pytest.raises(SystemExit):
        run_command(DoctorOptions, run, "Examine.")
    assert printed == ["warning: slow here\n", "dense.py:7: UserWarning: slow here\n  x = 1\n"]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("argument", "hint"),
    [("--otu=x.csv", "--otu; did you mean --out?"), ("--zzz", "--zzz; --help lists the options")],
)
def test_an_unknown_option_gets_the_most_similar_one_as_a_hint(
    argument: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["predict", "a.wav", argument])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as exit_:
        run_command(PredictOptions, lambda _: 0, "")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == f"error: there is no option {hint}\n"


@pytest.mark.fast
def test_a_folder_without_an_option_gets_the_option_of_a_corpus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["doctor", "recordings"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit):
        run_command(DoctorOptions, lambda _: 0, "")
    assert capsys.readouterr().err.endswith("(recordings); a corpus is given as --source NAME=PATH\n")


@pytest.mark.fast
def test_an_error_of_the_program_keeps_its_traceback() -> None:
    def run() -> int:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        status_of(run, "")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("door", "options", "done", "continues"),
    [
        ("doctor", DoctorOptions(), "doctor_main.run", False),
        ("compare", CompareOptions(first=Path("a"), second=Path("a")), "compare_main.run", False),
        ("manifest", ManifestOptions(), "manifest_main.run", False),
        ("cut", CutOptions(), "cut_main.run", True),
        ("predict", PredictOptions(inputs=("a.wav",)), "predict_main.predict_and_write", False),
        ("predict", PredictOptions(inputs=("a.wav",), out=Path("p.csv")), "predict_main.predict_and_write", True),
        ("reproduce", CliOptions(everything=True), "main.run", True),
    ],
)
def test_a_command_says_after_an_interruption_whether_it_continues(
    door: str,
    options: Any,
    done: str,
    continues: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.wav").touch()
    Path("a/runs").mkdir(parents=True)

    def interrupted(*_: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"fastser.cli.{done}", interrupted)
    assert getattr(import_module(f"fastser.{door}"), door)(options) == 130
    said = capsys.readouterr().err
    assert said.startswith("interrupted; ")
    assert ("continues" in said) is continues
