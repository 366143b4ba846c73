"""Check of a results folder. It loads without torch."""

from pathlib import Path

from fastser.runtime.errors import UserError
from fastser.runtime.files import printable


class ResultsError(UserError, OSError):
    """A results folder or file that cannot be written or read. The message names it."""


def require_results_folder(out: Path) -> None:
    """Check that a folder is the --out of a command that executes runs.

    Raises:
        ResultsError: If it is no results folder.
    """
    if not (out / "runs").is_dir():
        raise ResultsError(
            f"{printable(out)}: this is no results folder of fastser.reproduce, it has no folder runs; give its --out"
        )
