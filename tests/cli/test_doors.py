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


def without_torch(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a door in a folder where the import of torch ends the program."""
    (folder / "torch.py").write_text("raise SystemExit('torch is imported')\n")
    path = os.pathsep.join([str(folder), str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", f"fastser.{arguments[0]}", *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
    )


@pytest.mark.parametrize(
    ("arguments", "out", "err"),
    [
        *(([name], LOADING, "") for name in sorted(COMMANDS.keys() - {"settings", "predict", "manifest", "cut"})),
        (["predict", "--out=p.csv"], LOADING, ""),
        (["predict", "speech.wav"], "", LOADING),
    ],
)
def test_the_first_line_comes_before_torch_is_imported(
    arguments: list[str], out: str, err: str, tmp_path: Path
) -> None:
    ended = without_torch(arguments, tmp_path)
    assert ended.stdout == out
    assert ended.stderr == f"{err}torch is imported\n"


def test_a_manifest_is_written_without_torch(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "ann_sad_1.wav").touch()
    ended = without_torch(["manifest", "wav", "--pattern", "{speaker}_{emotion}_*.wav", "--out", "m.csv"], tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "m.csv").read_text() == "path,speaker,emotion\nwav/ann_sad_1.wav,ann,sad\n"


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
