"""Console for standard output."""

import sys
from typing import TextIO, cast

from rich.console import Console

from fastser.cli.output import Output


def make_console() -> Console:
    """Return the console for standard output, without line wrapping where it is not a terminal."""
    return Console(file=cast(TextIO, Output(sys.stdout)), soft_wrap=not sys.stdout.isatty())


def say(console: Console, *lines: str) -> None:
    """Print lines as they are."""
    for line in lines:
        console.print(line, markup=False, highlight=False, emoji=False)
