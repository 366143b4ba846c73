"""Lines at the end of a command that executes runs."""

from collections.abc import Sequence
from pathlib import Path

from fastser.experiment.grid import RunId
from fastser.runtime.duration import format_duration


def interrupted_line(done: int, planned: int, out: Path) -> str:
    """Return the line of an interrupted command.

    Args:
        done: Number of finished runs.
        planned: Number of runs in the plan.
        out: Results folder.
    """
    return (
        f"interrupted: {done} of {planned} runs are finished and kept under {out}; "
        "the same command continues from there"
    )


def finished_lines(planned: int, failures: Sequence[tuple[RunId, str]], reused: int, seconds: float) -> list[str]:
    """Return the lines of a command that has come to its end.

    Args:
        planned: Number of runs in the plan.
        failures: Failed runs, each with its reason.
        reused: Number of runs that were finished before.
        seconds: Wall time.
    """
    return [
        f"{planned - len(failures)} of {planned} runs finished, {reused} of them reused, in {format_duration(seconds)}",
        *(f"failed: {run_id.label}: {reason}" for run_id, reason in failures),
    ]
