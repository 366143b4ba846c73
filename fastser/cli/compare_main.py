"""The way from the options of `python -m fastser.compare` to lines and files."""

from fastser.cli.compare_options import CompareOptions
from fastser.cli.console import make_console, say
from fastser.cli.options import UsageError
from fastser.cli.writable import writable_folder
from fastser.experiment.finished_runs import finished_runs
from fastser.report.comparison import Folder, compared, settings_that_differ
from fastser.report.comparison_page import comparison_lines, write_comparison
from fastser.runtime.files import expanded, printable


def run(options: CompareOptions) -> int:
    """Compare the folders, print the differences and write the files.

    Raises:
        UserError: If the folders cannot be compared.
    """
    if options.first is None or options.second is None:
        raise UsageError("give two results folders: python -m fastser.compare OUT_A OUT_B")
    out = writable_folder(options.out, "--out")
    folders = (expanded(path) for path in (options.first, options.second))
    first, second = (Folder.of(printable(path), finished_runs(path)) for path in folders)
    found = compared(first, second)
    page = write_comparison(out, first, second, found, settings_that_differ(first, second))
    say(make_console(), *comparison_lines(first, second, found), f"comparison: {page}")
    return 0
