"""Command `python -m fastser.settings`: every setting with value, source and open question."""

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastser.cli.door import BEGINS_ANEW, run_command, status_of
from fastser.cli.open_questions import OPEN_QUESTIONS
from fastser.cli.options import UsageError, settings_of_scale
from fastser.cli.output import Output
from fastser.runtime.csv_file import csv_text
from fastser.runtime.options import option
from fastser.runtime.text_table import text_table
from fastser.settings import HELP, PAPER, SCALES, Settings

COLUMNS = ("setting", "value", "paper scale", "open question", "source")
FORMATS = ("table", "csv", "json")

_OPEN = re.compile(r"open (\d+): (.+)")
"""Source of a value that the paper leaves open: the number of the question, and the origin of our choice."""

_CHANGE = re.compile(r"(scale \w+|--set) \((?:(paper [\d.]+).*|.*)\)")
"""Source of a changed value, of which the table shows the change and the section of the paper."""

_PAPER = "paper N: section N of Latif et al. 2020"
_CHANGED = "scale NAME, --set: changed there; in brackets the section that the paper scale's value is from"
_QUESTIONS = "open questions, with the reasons for our choices in docs/open-questions.md:"


@dataclass(frozen=True, kw_only=True)
class SettingsOptions:
    """Arguments of the command line. Each field is one option, in the order of `--help`."""

    scale: str = option("paper", "Scale whose settings are printed: paper, open or quick.", metavar="NAME")
    set: tuple[str, ...] = option(
        (), "Change a setting, such as augmentation.mixup_alpha=0.4. May be repeated.", metavar="NAME=VALUE"
    )
    format: str = option("table", "table, csv or json.", metavar="NAME")


def setting_rows(settings: Settings) -> list[tuple[str, Any, Any, str, str]]:
    """Return name, value, value of the paper scale, number of the open question and source of every setting.

    A changed value names the scale or `--set` as its source, with the source of the paper scale's value in brackets.
    """
    of_paper, of_scale = PAPER.describe(), SCALES[settings.scale].describe()
    rows = []
    for name, (value, source) in settings.describe().items():
        if not source:  # the name of the scale
            continue
        paper, opened = of_paper[name][0], _OPEN.fullmatch(source)
        question, source = opened.groups() if opened else ("", source)
        if value != of_scale[name][0]:
            source = f"--set ({source})"
        elif value != paper:
            source = f"scale {settings.scale} ({source})"
        rows.append((name, value, paper, question, source))
    return rows


def settings_text(settings: Settings, form: str, width: int | None) -> str:
    """Return all settings as text.

    Args:
        settings: The settings.
        form: "table", "csv" or "json".
        width: Largest width of a table, or None.
    """
    rows = setting_rows(settings)
    if form == "json":
        return json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=2) + "\n"
    if form == "csv":
        cells = ((name, value_text(value), value_text(paper), *rest) for name, value, paper, *rest in rows)
        return csv_text(COLUMNS, cells)
    return "\n".join(_table(rows, width)) + "\n"


def value_text(value: Any) -> str:
    """Return a value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def run(options: SettingsOptions) -> int:
    """Print the settings and return the exit status."""

    def printed() -> int:
        if options.format not in FORMATS:
            raise UsageError(f"--format {options.format}: expected table, csv or json")
        settings = settings_of_scale(options.scale).override(options.set)
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        output = Output(sys.stdout)
        output.write(settings_text(settings, options.format, width))
        output.flush()
        return 0

    return status_of(printed, BEGINS_ANEW)


def main() -> None:
    """Run the command line and exit with its status."""
    run_command(SettingsOptions, run, HELP)


def _table(rows: Sequence[tuple[str, Any, Any, str, str]], width: int | None) -> list[str]:
    """Return the lines of the table. The column of the paper scale is there only if a value differs from it."""
    differs = any(value != paper for _, value, paper, _, _ in rows)
    cells = []
    for name, value, paper, question, source in rows:
        beside = [_shown(paper) if value != paper else ""] if differs else []
        cells.append((name, _shown(value), *beside, question, _short(source)))
    header = COLUMNS if differs else tuple(name for name in COLUMNS if name != "paper scale")
    changed = textwrap.wrap(_CHANGED, width or len(_CHANGED)) if differs else []
    questions = [f"{number:4}  {text}" for number, text in OPEN_QUESTIONS.items()]
    table = text_table(header, cells, left=len(header), width=width)
    return [*table, "", _PAPER, *changed, _QUESTIONS, *questions]


def _short(source: str) -> str:
    """Return a source for the table: that of a changed value without the words about the paper scale's value."""
    if changed := _CHANGE.fullmatch(source):
        return f"{changed[1]} ({changed[2]})" if changed[2] else changed[1]
    return source


def _shown(value: Any) -> str:
    """Return a value for people: lists without brackets, and numbers rounded to six digits."""
    if isinstance(value, float):
        return f"{value:g}"
    if value == ():
        return "none"
    if isinstance(value, tuple) and not isinstance(value[0], tuple):
        return ", ".join(map(_shown, value))
    return value_text(value)
