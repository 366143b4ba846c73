"""Options from a TOML file: keys, types, precedence of the command line, errors, the text for reports."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from fastser import reproduce
from fastser.cli.command import application
from fastser.cli.config import ConfigError, command_text, config_arguments
from fastser.cli.door import run_command
from fastser.cli.evaluate_options import EvaluateOptions
from fastser.cli.manifest_options import ManifestOptions
from fastser.cli.options import CliOptions
from fastser.cli.sensitivity_options import SensitivityOptions

FILE = """
source = "emodb=/data/EMODB"
scale = "quick"
models = ["cnn", "proposed"]
table = [1, 2]
folds = 3
checkpoint-minutes = 2
keep-models = true
dry-run = false
[set]
training.batch_size = 32
noise.scenes = ["park", "kitchen"]
training.monitor = "uar"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(FILE)
    return path


def parse(options: type[Any], *arguments: str) -> Any:
    seen: list[Any] = []
    app = application(options, lambda parsed: seen.append(parsed) or 0, "Do it.")
    app([*config_arguments(options, arguments), *arguments], standalone_mode=False)
    return seen[0]


@pytest.mark.fast
def test_an_option_with_two_spellings_is_one_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.toml"
    file.write_text('corpus = "emodb=/old"\n')
    assert parse(EvaluateOptions, f"--config={file}").source == "emodb=/old"
    for spelling in ("--source", "--corpus"):
        assert parse(EvaluateOptions, f"--config={file}", f"{spelling}=emodb=/new").source == "emodb=/new"
    both = tmp_path / "both.toml"
    both.write_text('corpus = "emodb=/old"\nsource = "emodb=/new"\n')
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for given in ([f"--config={both}"], ["--source=a=b", "--corpus=a=b"]):
        monkeypatch.setattr(sys, "argv", ["evaluate", *given])
        with pytest.raises(SystemExit):
            run_command(EvaluateOptions, lambda _: 0, "")
        assert capsys.readouterr().err == "error: --source or --corpus is given 2 times; give it once\n"


@pytest.mark.fast
def test_the_file_gives_every_kind_of_option(file: Path) -> None:
    expected = CliOptions(
        source="emodb=/data/EMODB",
        scale="quick",
        models="cnn,proposed",
        table=("1", "2"),
        folds=3,
        checkpoint_minutes=2.0,
        keep_models=True,
        set=("training.batch_size=32", "training.monitor=uar", 'noise.scenes=["park", "kitchen"]'),
    )
    assert parse(CliOptions, f"--config={file}") == expected
    settings = expected.settings()
    assert (settings.training.batch_size, settings.noise.scenes) == (32, ("park", "kitchen"))


@pytest.mark.fast
def test_the_command_line_wins_setting_by_setting(file: Path) -> None:
    given = ["--folds=1", "--table", "3", "--set", "training.batch_size=16", "--models=cnn"]
    options = parse(CliOptions, *given, "--config", str(file))
    assert (options.folds, options.table, options.models, options.scale) == (1, ("3",), "cnn", "quick")
    settings = options.settings()
    assert (settings.training.batch_size, settings.training.monitor) == (16, "uar")


@pytest.mark.fast
def test_texts_with_several_assignments_are_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "vary.toml"
    path.write_text("vary = ['training.batch_size=8 training.learning_rate=1e-4']")
    assert parse(SensitivityOptions, f"--config={path}").vary == ("training.batch_size=8 training.learning_rate=1e-4",)
    given = parse(SensitivityOptions, f"--config={path}", "--vary=training.batch_size=16")
    assert given.vary == ("training.batch_size=16",)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modles = 'cnn'", "there is no option 'modles'; did you mean models?"),
        ("keep_models = true", "there is no option 'keep_models'; did you mean keep-models?"),
        ("xyzzy = 1", "there is no option 'xyzzy'; --help lists the options"),
        ("dry-run = 'yes'", "dry-run: expected true or false, got 'yes'"),
        ("folds = true", "folds: expected a whole number, got true"),
        ("out = ['a', 'b']", "out: expected a text, got ['a', 'b']"),
        ("[source]\nemodb = 'x'", "source: expected a text, got a table"),
        ("[set]\nday = 2020-01-01", "set: expected a text, number or list, got datetime.date(2020, 1, 1)"),
        ("folds = ", "the file is not valid TOML: "),
        ("folds = 1\nfolds = 2", "the file is not valid TOML: "),
        (None, "No such file or directory; give the path of a TOML file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_and_status_2(
    text: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "study.toml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(sys, "argv", ["fastser-reproduce", "--all", f"--config={path}"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as exit_:
        reproduce.main()
    err = capsys.readouterr().err
    assert exit_.value.code == 2
    assert err.startswith(f"error: --config {path}: {said}")
    assert err.count("\n") == 1


@pytest.mark.fast
def test_a_second_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fastser-reproduce", f"--config={file}", f"--config={file}"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as exit_:
        reproduce.main()
    assert exit_.value.code == 2


@pytest.mark.fast
def test_the_text_for_reports_says_what_the_file_gives(file: Path) -> None:
    arguments = ["--config", str(file), "--folds=1", "--set=training.monitor=accuracy"]
    text = command_text("fastser.reproduce", CliOptions, arguments)
    assert shlex.split(text, comments=True) == ["python", "-m", "fastser.reproduce", *arguments]
    added = shlex.split(text.partition(" gives ")[2])
    assert added == config_arguments(CliOptions, arguments)
    assert "--scale=quick" in added
    assert not any(text.startswith(("--folds", "--set=training.monitor")) for text in added)
    assert command_text("fastser.reproduce", CliOptions, ["--all"]) == "python -m fastser.reproduce --all"
    pipe = ["--config=/dev/null", "--all"]
    assert command_text("fastser.reproduce", CliOptions, pipe).endswith("# /dev/null gives nothing more")


@pytest.mark.fast
def test_a_file_is_read_once(file: Path) -> None:
    before = config_arguments(CliOptions, [f"--config={file}"])
    file.unlink()
    assert config_arguments(CliOptions, [f"--config={file}"]) == before
    with pytest.raises(ConfigError):
        config_arguments(CliOptions, [f"--config={file}-2"])


@pytest.mark.fast
def test_an_argument_without_a_name_stands_on_the_command_line_only(tmp_path: Path) -> None:
    path = tmp_path / "names.toml"
    path.write_text("pattern = '{speaker}_{emotion}.wav'\n")
    expected = ManifestOptions(folder=Path("AUDIO"), pattern="{speaker}_{emotion}.wav")
    assert parse(ManifestOptions, "AUDIO", f"--config={path}") == expected
    other = tmp_path / "folder.toml"
    other.write_text("folder = 'AUDIO'\n")
    with pytest.raises(ConfigError, match="there is no option 'folder'"):
        config_arguments(ManifestOptions, [f"--config={other}"])
