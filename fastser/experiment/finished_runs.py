"""Finished runs of a results folder, without a plan."""

from pathlib import Path

from fastser.experiment.stored_runs import ResultsError, Run, StoredRuns
from fastser.runtime.files import printable


def finished_runs(out: Path) -> list[Run]:
    """Read all finished runs of a results folder, sorted by key. Damaged ones are left out with a warning.

    Nothing is written into the folder.

    Args:
        out: Folder, the --out of a command.

    Raises:
        ResultsError: If it is no results folder.
    """
    if not (out / "runs").is_dir():
        raise ResultsError(
            f"{printable(out)}: this is no results folder of fastser.reproduce, it has no folder runs; give its --out"
        )
    stored = StoredRuns(out)
    keys = sorted(path.stem for path in (out / "runs").glob("*.npz"))
    return [run for key in keys if (run := stored.find(key)) is not None]
