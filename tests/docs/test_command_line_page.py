"""The page about the command line: its file of options gives the command that the page prints."""

from pathlib import Path

import pytest
from snippets import ROOT

from fastser.cli.command import HELP_WIDTH
from fastser.cli.config import ConfigError, command_text, config_arguments
from fastser.cli.doors import doors, list_lines
from fastser.cli.options import CliOptions


@pytest.mark.fast
def test_the_file_of_the_document_says_what_the_document_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/command-line.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    arguments = ["--config", "study.toml", "--all", "--folds", "3"]
    assert command_text("fastser.reproduce", CliOptions, arguments) in page.splitlines()
    (error,) = [line for line in page.splitlines() if line.startswith("error: ")]
    Path("wrong.toml").write_text("modles = 1")
    with pytest.raises(ConfigError) as raised:
        config_arguments(CliOptions, ["--config=wrong.toml"])
    assert f"error: {raised.value}" == error.replace("study.toml", "wrong.toml")


@pytest.mark.fast
def test_the_document_shows_the_list_of_commands_as_it_is() -> None:
    page = (ROOT / "docs/command-line.md").read_text("utf-8")
    shown = page.split("$ python -m fastser\n")[1].split("```")[0]
    assert shown.splitlines() == list_lines(doors(ROOT / "fastser"), HELP_WIDTH)
