"""The way from the options of `python -m fastser.compare` to lines and files."""

import sys
from pathlib import Path

from fastser.cli.compare_options import CompareOptions
from fastser.cli.options import UsageError
from fastser.cli.output import Output
from fastser.experiment.store import ResultsError, ResultStore
from fastser.report.comparison import ComparisonError, Folder, compared, settings_that_differ
from fastser.report.comparison_page import comparison_lines, write_comparison
from fastser.runtime.files import expanded, expanded_output, printable

USER_ERRORS = (UsageError, ResultsError, ComparisonError)
"""Exceptions whose message is everything that a user needs to see. The exit status is 2."""


def run(options: CompareOptions) -> int:
    """Compare the folders, print the differences and write the files.

    Raises:
        Exception: One of `USER_ERRORS` for folders that cannot be compared.
    """
    if options.first is None or options.second is None:
        raise UsageError("give two results folders: python -m fastser.compare OUT_A OUT_B")
    first, second = (_folder(path) for path in (options.first, options.second))
    found = compared(first, second)
    out = expanded_output(options.out, "Give --out the path of a folder")
    page = write_comparison(out, first, second, found, settings_that_differ(first, second))
    output = Output(sys.stdout)
    print(*comparison_lines(first, second, found), f"comparison: {page}", sep="\n", file=output)
    return 0


def _folder(path: Path) -> Folder:
    """Read the runs of a results folder.

    Raises:
        UsageError: If it is not a results folder.
    """
    path = expanded(path)
    if not (path / "runs").is_dir():
        raise UsageError(
            f"{printable(path)}: is no results folder (it has no folder runs); give the --out of a command"
        )
    store = ResultStore(path)
    return Folder.of(printable(path), [store.load(key) for key in store.recorded_keys() if store.finished(key)])
