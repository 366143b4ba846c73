"""List of the commands: every module of the package that can be run and has a text `HELP`."""

import ast
import shutil
import sys
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from fastser import __version__
from fastser.cli.command import HELP_WIDTH
from fastser.cli.output import Output


def doors(folder: Path) -> dict[str, str]:
    """Return the summary of each command by its name: the first sentence of its help.

    The modules are read and not imported, because some of their neighbours import torch.

    Args:
        folder: Folder of the package.
    """
    found = {path.stem: _help(path) for path in sorted(folder.glob("*.py"))}
    return {name: text.partition("\n")[0].removesuffix(".") for name, text in found.items() if text}


def list_lines(commands: dict[str, str], width: int) -> list[str]:
    """Return the lines of the list.

    Args:
        commands: Summaries by name.
        width: Largest width of a line, in characters.
    """
    column = max(len(name) for name in commands) + len("python -m fastser.") + 2
    lines = [f"fastser {__version__}: robustness of speech emotion recognition", ""]
    for name, summary in commands.items():
        start = f"python -m fastser.{name}".ljust(column)
        lines += textwrap.wrap(summary, width, initial_indent=start, subsequent_indent=" " * column)
    return [*lines, "", "--help after a command lists its options, --version prints the version."]


def main() -> None:
    """Print the list, or the version, and exit."""
    sys.exit(run(sys.argv[1:], doors(Path(__file__).parents[1])))


def run(arguments: Sequence[str], commands: dict[str, str]) -> int:
    """Print what the arguments ask for.

    Args:
        arguments: Arguments of the command line.
        commands: Summaries by name.

    Returns:
        Exit status.
    """
    if [*arguments] in ([], ["--help"]):
        lines = list_lines(commands, min(shutil.get_terminal_size().columns, HELP_WIDTH))
    elif [*arguments] == ["--version"]:
        lines = [f"fastser {__version__}"]
    else:
        near = get_close_matches(arguments[0], commands, n=1)
        hint = f"did you mean python -m fastser.{near[0]}?" if near else "python -m fastser lists the commands"
        print(f"error: python -m fastser takes no argument '{arguments[0]}'; {hint}", file=sys.stderr)
        return 2
    output = Output(sys.stdout)
    output.write("".join(f"{line}\n" for line in lines))
    output.flush()
    return 0


def _help(path: Path) -> str:
    """Return the constant `HELP` of a module, or an empty text if it has none."""
    for statement in ast.parse(path.read_text("utf-8")).body:
        match statement:
            case ast.Assign(targets=[ast.Name("HELP")], value=ast.Constant(str(text))):
                return text
    return ""
