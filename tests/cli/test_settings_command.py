"""The command that prints the settings."""

import csv
import io
import json
import re
import subprocess
import sys

import pytest

from fastser.cli.open_questions import OPEN_QUESTIONS
from fastser.cli.settings_command import COLUMNS, SettingsOptions, run, settings_text
from fastser.settings import HELP, OPEN, PAPER, QUICK, Settings


@pytest.mark.fast
def test_csv_and_json_have_every_setting_with_value_source_and_question() -> None:
    rows = list(csv.DictReader(io.StringIO(settings_text(OPEN, "csv", None))))
    values = json.loads(settings_text(OPEN, "json", None))
    names = [name for name in PAPER.describe() if "." in name]
    assert [row["setting"] for row in rows] == [row["setting"] for row in values] == names
    by_name = {row["setting"]: row for row in rows}
    assert by_name["audio.level"] == {
        "setting": "audio.level",
        "value": "equal",
        "paper scale": "kept",
        "open question": "39",
        "source": "scale open (not in the paper)",
    }
    assert by_name["spectrogram.hop_length"]["open question"] == ""
    assert by_name["spectrogram.hop_length"]["source"] == "paper 4.2: 10 ms"
    assert next(row for row in values if row["setting"] == "noise.snr_db")["value"] == [0, 10, 20]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("base", "source"),
    [(PAPER, "paper 4.2: height 128"), (OPEN, "scale open (paper 4.2: height 128)")],
)
def test_a_changed_value_has_the_source_of_its_change(base: Settings, source: str) -> None:
    def sources(settings: Settings) -> dict[str, str]:
        return {row["setting"]: row["source"] for row in json.loads(settings_text(settings, "json", None))}

    assert sources(base)["spectrogram.num_bins"] == source
    changed = sources(base.override(["spectrogram.num_bins=32", "attack.eps=0.08"]))
    assert changed["spectrogram.num_bins"] == "--set (paper 4.2: height 128)"
    assert changed["attack.eps"] == "paper 5.3: 0.08"


@pytest.mark.fast
def test_the_values_of_the_csv_are_those_that_set_takes() -> None:
    rows = csv.DictReader(io.StringIO(settings_text(QUICK, "csv", None)))
    assert PAPER.override([f"{row['setting']}={row['value']}" for row in rows]) == QUICK.model_copy(
        update={"scale": "paper"}
    )


@pytest.mark.fast
@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(width: int) -> None:
    lines = settings_text(OPEN, "table", width).splitlines()
    assert max(map(len, lines)) <= width
    assert sorted(f"{lines[0]} {lines[1]}".split()) == sorted(" ".join(COLUMNS).split())  # long titles are wrapped
    names = [line.split()[0] for line in lines if not line.startswith(" ") and "." in line]
    assert set(names) >= {name for name in PAPER.describe() if "." in name}
    assert [line.split()[0] for line in lines[-len(OPEN_QUESTIONS) :]] == [*map(str, OPEN_QUESTIONS)]


@pytest.mark.fast
def test_the_table_has_a_column_of_open_questions() -> None:
    header, *rows = settings_text(PAPER, "table", None).splitlines()
    assert re.split("  +", header) == ["setting", "value", "open question", "source"]
    by_name = {row.split()[0]: re.split("  +", row)[1:] for row in rows if "." in row}
    assert by_name["audio.level"] == ["kept", "39", "not in the paper"]
    assert by_name["audio.sample_rate"] == ["16000", "paper 4.1"]
    changed = settings_text(PAPER.override(["audio.level=equal", "attack.eps=0.1"]), "table", None).splitlines()
    by_name = {row.split()[0]: re.split("  +", row)[1:] for row in changed if "." in row}
    assert by_name["audio.level"] == ["equal", "kept", "39", "--set"]
    assert by_name["attack.eps"] == ["0.1", "0.08", "--set (paper 5.3)"]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (SettingsOptions(scale="tiny"), "--scale tiny: expected paper or open or quick"),
        (SettingsOptions(format="xml"), "--format xml: expected table, csv or json"),
        (SettingsOptions(set=("attack.epz=1",)), "--set attack.epz=1: there is no setting 'attack.epz'; did you mean"),
    ],
)
def test_bad_options_are_one_sentence(options: SettingsOptions, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(options) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


def test_the_command_runs_and_the_module_imports_nothing_for_it() -> None:
    code = "import sys, fastser.settings; print({'typer', 'fastser.cli.door', 'torch'} & set(sys.modules))"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert imported.stdout == "set()\n"
    arguments = ["--scale=quick", "--set=attack.eps=0.5", "--format=csv"]
    ended = subprocess.run(
        [sys.executable, "-m", "fastser.settings", *arguments], capture_output=True, text=True, check=True
    )
    assert ended.stdout == settings_text(QUICK.override(["attack.eps=0.5"]), "csv", None)
    assert HELP.startswith("Print every setting")
