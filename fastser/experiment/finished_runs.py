"""Finished runs of a results folder, without a plan."""

from pathlib import Path

from fastser.experiment.results_folder import require_results_folder
from fastser.experiment.stored_runs import Run, StoredRuns


def finished_runs(out: Path) -> list[Run]:
    """Read all finished runs of a results folder, sorted by key. Damaged ones are left out with a warning.

    Nothing is written into the folder.

    Args:
        out: Folder, the --out of a command.

    Raises:
        ResultsError: If it is no results folder.
    """
    require_results_folder(out)
    stored = StoredRuns(out)
    keys = sorted(path.stem for path in (out / "runs").glob("*.npz"))
    return [run for key in keys if (run := stored.find(key)) is not None]
