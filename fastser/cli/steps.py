"""Progress of a phase before the first run: a bar in a terminal, one line elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fastser.cli.console import say

KERNEL_TESTS = "testing the kernels on this machine"
"""Title of the phase that compares the kernels with their references."""

MODEL_TIMES = "timing the models"
"""Title of the phase that measures the time of a training step."""


@contextmanager
def steps(title: str, total: int | None, console: Console) -> Iterator["Steps"]:
    """Show a phase that has steps. Nothing is shown for a phase without any, such as one that the cache answers.

    Args:
        title: Title of the phase, such as "timing the models".
        total: Number of steps, or None if it is not known.
        console: Console for the progress.
    """
    shown = Steps(title, total, console)
    try:
        yield shown
    finally:
        shown.close()


class Steps:
    """Progress bar in a terminal. Elsewhere, one line at the first step."""

    def __init__(self, title: str, total: int | None, console: Console) -> None:
        self._title, self._total, self._console = title, total, console
        self._count = 0
        self._bar: Progress | None = None

    def __call__(self, step: str = "") -> None:
        """Show the step that begins.

        Args:
            step: Name of the step.
        """
        if not self._count and not self._console.is_terminal:
            say(self._console, f"{self._title} ...")
        elif self._console.is_terminal:
            if self._bar is None:
                self._bar = self._started_bar()
            self._bar.update(TaskID(0), completed=self._count, step=step)
        self._count += 1

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def _started_bar(self) -> Progress:
        count = [MofNCompleteColumn()] if self._total is not None else []
        columns = [TextColumn("{task.description}", markup=False), BarColumn(20), *count, TimeElapsedColumn()]
        bar = Progress(*columns, TextColumn("{task.fields[step]}", markup=False), console=self._console, transient=True)
        bar.add_task(self._title, total=self._total, step="")
        bar.start()
        return bar
