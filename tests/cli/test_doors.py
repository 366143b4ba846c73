"""The list of the commands, their version, and their first line."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fastser
from fastser.cli.command import application
from fastser.cli.compare_options import CompareOptions
from fastser.cli.doors import doors, list_lines, run
from fastser.cli.predict_options import PredictOptions

PACKAGE = Path(fastser.__file__).parent
COMMANDS = doors(PACKAGE)


@pytest.mark.fast
def test_every_module_that_can_be_run_is_listed_with_the_first_line_of_its_help() -> None:
    can_be_run = {path.stem for path in PACKAGE.glob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8")}
    assert set(COMMANDS) == can_be_run - {"__main__"}
    assert {"reproduce", "evaluate", "predict", "settings"} <= set(COMMANDS)
    for name, summary in COMMANDS.items():
        assert import_module(f"fastser.{name}").HELP.startswith(summary)
        assert 10 < len(summary) < 130


@pytest.mark.fast
def test_a_new_command_is_listed_without_being_imported(tmp_path: Path) -> None:
    (tmp_path / "hear.py").write_text('raise ImportError\nHELP = """Play a file.\n\nMore."""\n')
    (tmp_path / "helpers.py").write_text("HELP = str(1)\n")
    assert doors(tmp_path) == {"hear": "Play a file"}


@pytest.mark.fast
def test_the_list_fits_the_width(capsys: pytest.CaptureFixture[str]) -> None:
    lines = list_lines(COMMANDS, 80)
    assert max(map(len, lines)) <= 80
    assert run([], COMMANDS) == 0
    out = capsys.readouterr().out
    assert all(f"python -m fastser.{name} " in out for name in COMMANDS)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("argument", "hint"),
    [("reproduc", "did you mean python -m fastser.reproduce?"), ("--all", "python -m fastser lists the commands")],
)
def test_an_argument_is_refused_with_the_near_command(
    argument: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([argument], COMMANDS) == 2
    assert capsys.readouterr().err == f"error: python -m fastser takes no argument '{argument}'; {hint}\n"


@pytest.mark.fast
@pytest.mark.parametrize("name", [*COMMANDS, "__main__"])
def test_every_command_has_a_version(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = import_module("fastser.cli.settings_command" if name == "settings" else f"fastser.{name}").main
    monkeypatch.setattr(sys, "argv", [name, "--version"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"fastser {fastser.__version__}\n"


LOADING = f"fastser {fastser.__version__}: loading PyTorch\n"


ARGUMENTS = {
    "compare": ["a", "b"],
    "doctor": [],
    "evaluate": ["--weights=emodb", "--corpus=manifest=m.csv"],
    "export": ["emodb", "x.onnx"],
    "predict": ["speech.wav"],
    "reproduce": ["--all"],
    "sensitivity": [],
    "train": ["--source=manifest=m.csv"],
}
"""Arguments of the commands that need torch. The files are those of `files`."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder in which the import of torch ends a program, and with the files of `ARGUMENTS`."""
    (tmp_path / "torch.py").write_text("raise SystemExit('torch is imported')\n")
    for name in ("a", "b"):
        (tmp_path / name / "runs").mkdir(parents=True)
    for name in ("m.csv", "speech.wav"):
        (tmp_path / name).touch()
    return tmp_path


def without_torch(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a door in the folder of `files`."""
    path = os.pathsep.join([str(folder), str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", f"fastser.{arguments[0]}", *arguments[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
    )


def seconds_of_children() -> float:
    """Return the CPU time of all ended child processes, which does not depend on what else the machine does."""
    used = pytest.importorskip("resource", reason="no CPU time of child processes here").getrusage(-1)  # of children
    return float(used.ru_utime + used.ru_stime)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"settings", "manifest", "cut"}))
def test_the_first_line_comes_within_a_second_before_torch_is_imported(name: str, files: Path) -> None:
    before = seconds_of_children()
    ended = without_torch([name, *ARGUMENTS[name]], files)
    assert seconds_of_children() - before < 1
    first, other = (ended.stderr, ended.stdout) if name == "predict" else (ended.stdout, ended.stderr)
    assert first.startswith(LOADING)
    assert first.removeprefix(LOADING) + other == "torch is imported\n"


def test_with_an_output_file_the_first_line_is_on_standard_output(files: Path) -> None:
    assert without_torch(["predict", "speech.wav", "--out=p.csv"], files).stdout == LOADING


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "a", "NOPE"], "NOPE: this is no results folder"),
        (["doctor", "--source=emodb=NOPE"], "NOPE: does not exist"),
        (["doctor", "--set=audio.rate=1"], "--set audio.rate=1: there is no setting"),
        (["evaluate", "--weights=emodb"], "give --source NAME=PATH"),
        (["evaluate", "--weights=NOPE", "--source=manifest=m.csv"], "NOPE: there is no such model"),
        (["export", "NOPE", "x.onnx"], "NOPE: there is no such model"),
        (["predict", "NOPE.wav"], "NOPE.wav: there is no such file or folder"),
        (["predict", "a"], "a: the folder holds no audio file"),
        (["predict", "speech.wav", "m.csv", "--plot=t.png"], "--plot draws one file, and 2 are given"),
        (["predict", "speech.wav", "--out=p.txt"], "--out p.txt: the ending .txt"),
        (["predict", "speech.wav", "--per=x"], "--per x: expected file or segment"),
        (["reproduce", "--table=9"], "--table 9: there is no such table"),
        (["reproduce", "--all", "--noise=demand=NOPE"], "NOPE: does not exist"),
        (["reproduce", "--all", "--source=emodbs=m.csv"], "there is no corpus reader 'emodbs'"),
        (["sensitivity", "--target=emodb"], "--target emodb: expected NAME=PATH"),
        (["train"], "give --source NAME=PATH"),
        (["train", "--source=manifest=m.csv", "--from=NOPE"], "NOPE: this is no results folder"),
    ],
)
def test_a_wrong_argument_is_answered_without_torch(arguments: list[str], said: str, files: Path) -> None:
    ended = without_torch(arguments, files)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: {said}")
    assert ended.stderr.count("\n") == 1


def test_a_manifest_is_written_without_torch(files: Path) -> None:
    (files / "wav").mkdir()
    (files / "wav" / "ann_sad_1.wav").touch()
    ended = without_torch(["manifest", "wav", "--pattern", "{speaker}_{emotion}_*.wav", "--out", "new.csv"], files)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (files / "new.csv").read_text() == "path,speaker,emotion\nwav/ann_sad_1.wav,ann,sad\n"


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "usage"), [(PredictOptions, "[OPTIONS] [MODEL] FILE..."), (CompareOptions, "[OPTIONS] OUT_A OUT_B")]
)
def test_help_names_arguments_by_their_placeholders(
    options: type, usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    application(options, lambda _: 0, "Do it.")(["--help"], prog_name="door", standalone_mode=False)
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: door {usage}\n")
    first = usage.split()[1]
    assert f"Arguments:\n  {first}" in text
