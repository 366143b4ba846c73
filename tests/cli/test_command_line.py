"""The command line: options made from a dataclass, help, bad input, options of other executors."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer

from fastser.cli.command import application, command_of
from fastser.cli.options import CliOptions
from fastser.experiment.executors import EXECUTORS
from fastser.experiment.options import RunOptions
from fastser.reproduce import main, reproduce
from fastser.runtime.options import Group, OptionInfo, flag_of, option


@pytest.fixture
def restored_signals() -> Iterator[None]:
    """Restore the handler of SIGTERM, which `main` replaces."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, kw_only=True)
class Extended(CliOptions):
    """The options of the command and four more."""

    colour: str | None = option(None, "Colour of the bars.", metavar="NAME")
    loud: bool = option(False, "Print more.", flag="--very-loud")
    gain: tuple[str, ...] = option((), "A gain. May be repeated.", metavar="DB")
    most: int = option(3, "Largest number.", minimum=1)


def parse(*arguments: str) -> Extended:
    """Return the options that a command line of `Extended` passes on."""
    seen: list[Extended] = []

    def run(options: Extended) -> int:
        seen.append(options)
        return 7

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(command_of(Extended, run, "Do it."))
    assert app(list(arguments), standalone_mode=False) == 7
    (options,) = seen
    return options


@pytest.mark.fast
def test_an_option_added_to_the_dataclass_reaches_run() -> None:
    assert parse() == Extended()
    options = parse("--colour=red", "--very-loud", "--gain=1", "--gain=2", "--most", "5", "--table=1", "--device=cpu")
    expected = Extended(colour="red", loud=True, gain=("1", "2"), most=5, table=("1",), device="cpu")
    assert options == expected
    assert parse("--all", "--out=x").out == Path("x")


def test_every_field_is_an_option_that_reaches_run() -> None:
    for field in fields(Extended):
        info: OptionInfo = field.metadata["option"]
        value = other_value(field)
        texts = [] if value is True else [str(item) for item in (value if isinstance(value, tuple) else (value,))]
        options = parse(flag_of(field.name, info), *texts)
        assert options == replace(Extended(), **{field.name: value}), field.name


def other_value(field: "Field[Any]") -> Any:
    """Return a value of the type of a field that is not its default."""
    match field.default:
        case bool():
            return not field.default
        case int() | float():
            return field.default + 1
        case tuple():
            return ("7",)
        case None:
            return get_args(get_type_hints(Extended)[field.name])[0]("7")
        case default:
            return type(default)("7")


def test_numbers_below_the_minimum_and_texts_for_numbers_are_refused() -> None:
    for text in ("0", "many"):
        with pytest.raises(typer.TyperException) as error:
            parse(f"--most={text}")
        assert "--most" in error.value.format_message()


def test_help_shows_every_option_in_groups_with_the_own_ones_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    application(Extended, lambda _: 0, "Do it.")(["--help"], standalone_mode=False)
    text = capsys.readouterr().out
    assert "Do it." in text
    sections = dict(re.findall(r"^(\w.*):\n((?:  .*\n)+)", text, re.MULTILINE))
    by_group = {title: re.findall(r"^  (--[a-z-]+)", rows, re.MULTILINE) for title, rows in sections.items()}
    assert [*by_group] == [*Group, "Other options"]
    shown = [flag for group in by_group.values() for flag in group]
    flags = {field.name: flag_of(field.name, field.metadata["option"]) for field in fields(Extended)}
    assert {*shown} == {*flags.values(), "--config", "--version", "--help"}
    assert by_group["Other options"][:4] == ["--colour", "--very-loud", "--gain", "--most"]
    assert by_group["Corpora"][0] == "--source"
    assert by_group["What runs"][:3] == ["--all", "--table", "--figure"]
    assert by_group["How it runs"][:3] == ["--device", "--executor", "--jobs"]
    assert by_group["Results"][0] == "--out"
    letters = "".join(text.split())  # lines are wrapped, also within words with a hyphen
    for field in fields(Extended):
        assert "".join(field.metadata["option"].help.split()) in letters, field.name


@pytest.mark.parametrize("door", ["reproduce", "sensitivity"])
def test_help_does_not_import_torch(door: str) -> None:
    code = f"""
import sys
from fastser.{door} import main
sys.argv = ["{door}", "--help"]
try:
    main()
except SystemExit as exit_:
    heavy = {{"torch", "numpy", "scipy", "matplotlib", "ray"}} & set(sys.modules)
    sys.exit(f"imported: {{heavy}}" if heavy else exit_.code)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"COLUMNS": "120"}, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    for part in ("--source", "--executor", "Exit status: 0"):
        assert part in ended.stdout


@dataclass(frozen=True, kw_only=True)
class Pooled(RunOptions):
    """The options of a run, and one for a single executor."""

    pool: str = option("all", "Pool of the workers.", executors=("ray",))


def owned_options() -> list[tuple[str, str, tuple[str, ...], Any, str]]:
    """Return field, flag, owners, a value and another executor for every option that is for some executors only."""
    owned = [field for field in fields(CliOptions) if field.metadata["option"].executors]
    return [
        (field.name, flag_of(field.name, info), info.executors, other_value(field), executor)
        for field in owned
        for executor in EXECUTORS
        if executor not in (info := field.metadata["option"]).executors
    ]


@pytest.mark.fast
@pytest.mark.parametrize(("name", "flag", "owners", "value", "executor"), owned_options())
def test_an_option_of_another_executor_is_refused_in_one_sentence(
    name: str,
    flag: str,
    owners: tuple[str, ...],
    value: Any,
    executor: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "fastser.cli.main.announced_roles", lambda *_: pytest.fail("the option was not refused at once")
    )
    options = CliOptions(everything=True, executor=executor, out=tmp_path / "out", **{name: value})
    assert reproduce(options) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {flag} is for ")
    for part in (*owners, f"--executor {executor}"):
        assert part in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert all(owner in EXECUTORS for owner in owners)
    assert all(replace(options, executor=owner).foreign_options() == [] for owner in owners)


def test_the_options_of_some_executors_name_them() -> None:
    owners = {flag: names for _, flag, names, _, _ in owned_options()}
    assert owners == owners | {
        "--cpus-per-run": ("processes", "ray", "slurm"),
        "--jobs": ("processes",),
        "--gpus-per-run": ("ray",),
        "--ray-address": ("ray",),
        "--ray-dashboard": ("ray",),
        "--runs-per-job": ("slurm",),
        "--slurm": ("slurm",),
    }


def test_an_option_that_a_new_field_gives_to_one_executor_is_found() -> None:
    assert Pooled(executor="serial", pool="gpu").foreign_options() == [("--pool", ("ray",))]
    assert Pooled(executor="ray", pool="gpu").foreign_options() == []
    assert Pooled(executor="serial").foreign_options() == []


@pytest.mark.usefixtures("restored_signals")
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["nothing to do", "--all", "--table", "--figure"]),
        (["--all", "--source=iemocap=/nowhere/at/all"], ["/nowhere/at/all", "does not exist"]),
        (["--all", "--source=iemocap"], ["--source iemocap", "NAME=PATH"]),
        (["--all", "--source=iemocaps=."], ["'iemocaps'", "'iemocap'", "emodb"]),
        (["--all", "--source=demand=."], ["demand: is noise, not speech"]),
        (["--all", "--noise=folder=."], ["--noise alone is not enough", "--source"]),
        (["--all", "--noise=emodb=.", "--source=manifest=none.csv"], ["none.csv"]),
        (["--all", "--models=proposed,resnet"], ["--models", "'resnet'", "cnn, cnn-lstm"]),
        (["--all", "--augmentations=specaugment"], ["--augmentations", "'specaugment'", "speed+mixup"]),
        (["--all", "--executor=serail"], ["--executor", "'serail'", "'serial'", "ray", "slurm"]),
        (["--all", "--scale=huge"], ["--scale huge", "paper", "quick"]),
        (["--all", "--kernels=eager"], ["--kernels eager", "auto, fused or reference"]),
        (["--all", "--device=cuda:99"], ["--device cuda:99"]),
        (["--all", "--device=banana"], ["--device banana"]),
        (["--all", "--set=training.batchsize=3"], ["'training.batchsize'", "training.batch_size"]),
        (["--all", "--set=training.batch_size=many"], ["setting training.batch_size", "'many'"]),
        (["--all", "--set=spectrogram.segment_frames=8"], ["setting spectrogram.segment_frames", "16", "8"]),
        (["--all", "--set=model.compression=0.01"], ["compression 0.01"]),
        (["--all", "--set=model.cnn_kernels=[[0,1],[1,1],[1,1]]"], ["setting model.cnn_kernels"]),
        (["--all", "--out=/proc/nowhere"], ["--out /proc/nowhere cannot be written"]),
        (["--all", "--device=cpu", "--slurm=partition=gpu"], ["--slurm", "--executor slurm", "--executor processes"]),
        (["--all", "--gpus-per-run=1.5", "--executor=ray"], ["--gpus-per-run 1.5", "0.001"]),
        (["--all", "--executor=slurm", "--slurm=nonsense!"], ["--slurm nonsense!", "partition=gpu"]),
        (["--all", "--executor=slurm", "--slurm=time"], ["--slurm time", "time=VALUE"]),
        (["--all", "--executor=slurm", "--slurm=array-parallelism=x"], ["array-parallelism=x", "whole number"]),
        (["--table=5"], ["--table 5", "1, 2, 3, 4"]),
        (["--figure=1"], ["--figure 1", "2"]),
        (["--folds=0", "--all"], ["--folds", "greater than or equal to 1"]),
        (["--tabel=1"], ["--tabel"]),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    arguments: list[str],
    parts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if arguments and not any(a.startswith("--out") for a in arguments):
        arguments = [*arguments, f"--out={tmp_path / 'out'}"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fastser-reproduce", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    said = capsys.readouterr().err
    assert exit_.value.code == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    for part in parts:
        assert part in said


@pytest.mark.usefixtures("restored_signals")
def test_sigterm_interrupts_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("fastser.cli.main.run", lambda *_: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(sys, "argv", ["fastser-reproduce", "--all"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 130
    assert "the same command continues" in capsys.readouterr().err


@pytest.mark.usefixtures("restored_signals")
def test_a_file_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> int:
        raise PermissionError(13, "Permission denied", "/data/corpus.csv")

    monkeypatch.setattr("fastser.cli.main.run", run)
    assert reproduce(CliOptions(everything=True)) == 2
    assert capsys.readouterr().err == "error: /data/corpus.csv: Permission denied\n"
