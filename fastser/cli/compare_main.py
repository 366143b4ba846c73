"""The way from the options of `python -m fastser.compare` to lines and files."""

from fastser.cli.compare_options import CompareOptions
from fastser.cli.console import make_console, say
from fastser.cli.writable import writable_folder
from fastser.experiment.finished_runs import finished_runs
from fastser.report.comparison import Folder, compared, settings_that_differ
from fastser.report.comparison_page import comparison_lines, write_comparison
from fastser.runtime.files import printable


def run(options: CompareOptions) -> int:
    """Compare the folders, print the differences and write the files.

    Raises:
        UserError: If the folders cannot be compared.
    """
    out = writable_folder(options.out, "--out")
    first, second = (Folder.of(printable(path), finished_runs(path)) for path in options.folders())
    found = compared(first, second)
    page = write_comparison(out, first, second, found, settings_that_differ(first, second))
    say(make_console(), *comparison_lines(first, second, found), f"comparison: {page}")
    return 0
