"""How far the run is: bars where there is a terminal, plain lines where there is none."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from fastser.experiment.estimate import format_duration
from fastser.experiment.executors import Outcome
from fastser.experiment.grid import noise_parts
from fastser.experiment.store import RunId
from fastser.training.loop import Epoch


class Display:
    """Shows the whole run, every training that is running and the time that is left.

    The time left is the estimate for what is not finished, scaled by how fast the estimated seconds of all trainings
    have gone by since the first one began, whoever ran them.

    Args:
        total: Number of trainings in the plan.
        costs: Estimated seconds of each training that is still to be run, by key.
        max_epochs: Epoch limit of a training.
        console: Where to print.
    """

    def __init__(self, total: int, costs: dict[str, float], max_epochs: int, console: Console) -> None:
        self._console = console
        self._total = total
        self._costs = dict(costs)
        self._done = total - len(costs)
        self._max_epochs = max_epochs
        self._began: float | None = None
        self._finished_cost = 0.0
        self._lanes: list[Lane] = []
        self._bars: Progress | None = None
        self._overall = TaskID(0)

    @contextmanager
    def shown(self) -> Iterator["Display"]:
        """Show the bars while the block runs, if the console is a terminal."""
        if not self._console.is_terminal:
            yield self
            return
        columns = (
            TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            BarColumn(12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", table_column=Column(min_width=22, no_wrap=True)),
        )
        with Progress(*columns, console=self._console, transient=True, expand=True) as self._bars:
            self._overall = self._bars.add_task("all trainings", total=self._total, completed=self._done, note="")
            yield self
        self._bars = None

    def lane(self) -> "Lane":
        """A bar for a worker that runs one training after the other."""
        self._lanes.append(Lane(self._begin, self._bars, self._max_epochs))
        return self._lanes[-1]

    def _begin(self) -> None:
        """The first training begins: what was done before, such as starting workers, is not the trainings' pace."""
        self._began = time.monotonic() if self._began is None else self._began

    def finished(self, outcome: Outcome) -> None:
        """Print one line for a training that this run or another process has finished."""
        for lane in self._lanes:
            lane.clear(outcome.training)
        cost = self._costs.pop(outcome.training.key, None)
        if cost is None:
            return
        self._done += 1
        self._finished_cost += cost
        what = f"{outcome.training.corpus}: {outcome.training.label}"
        if outcome.failure is not None:
            said = f"FAILED: {outcome.failure}"
        elif outcome.seconds is None:
            said = "finished by another process"
        else:
            said = f"{_headline(outcome)}  ({format_duration(outcome.seconds)})"
        left = self.time_left()
        self._console.print(
            f"[{self._done}/{self._total}] {what}  {said}; {left} left",
            markup=False,
            highlight=False,
            soft_wrap=not self._console.is_terminal,
        )
        if self._bars:
            self._bars.update(self._overall, completed=self._done, note=f"{left} left")

    def time_left(self) -> str:
        """Time that is left, as people say it."""
        begun = sum(lane.share * self._costs.get(lane.training.key, 0.0) for lane in self._lanes if lane.training)
        done = self._finished_cost + begun
        pace = (time.monotonic() - self._began) / done if done and self._began is not None else 1.0
        return format_duration((sum(self._costs.values()) - begun) * pace)


class Lane:
    """What one worker is doing: the listener of its trainings, and its bar where there are bars."""

    def __init__(self, on_start: Callable[[], None], bars: Progress | None, max_epochs: int) -> None:
        self._on_start = on_start
        self.training: RunId | None = None
        self.share = 0.0
        self._max_epochs = max_epochs
        self._bars = bars
        self._bar = bars.add_task("", total=max_epochs, note="", visible=False) if bars else TaskID(0)

    def started(self, training: RunId) -> None:
        """Show the training that begins."""
        self._on_start()
        self.training, self.share = training, 0.0
        names = (training.model, training.augmentation, training.fold, f"repeat {training.repeat}")
        self._show(description=", ".join(names), completed=0, note="", visible=True)

    def epoch(self, epoch: Epoch) -> None:
        """Show the epoch that has ended."""
        self.share = epoch.number / self._max_epochs
        self._show(completed=epoch.number, note=f"validation {100 * epoch.score:.0f} %")

    def condition(self, name: str) -> None:
        """Show the test that begins."""
        self._show(note=f"test {name}")

    def clear(self, training: RunId) -> None:
        """Take the bar away if it shows this training, which has ended."""
        if self.training == training:
            self.training = None
            self._show(visible=False)

    def _show(self, **what: Any) -> None:
        if self._bars:
            self._bars.update(self._bar, **what)


def _headline(outcome: Outcome) -> str:
    """UAR under the paper's conditions, without those of single noise scenes."""
    shown = {name: r for name, r in outcome.results.items() if not (noise_parts(name) or ("", 0))[0]}
    return ", ".join(f"{name} {100 * result.uar:.1f}" for name, result in shown.items())


@contextmanager
def file_counter(title: str, total: int, console: Console) -> Iterator["FileCounter"]:
    """Count files while they are decoded; nothing is shown where everything comes from the cache."""
    counter = FileCounter(title, total, console)
    try:
        yield counter
    finally:
        counter.close()


class FileCounter:
    """A bar in a terminal; elsewhere one line when the last file is done."""

    def __init__(self, title: str, total: int, console: Console) -> None:
        self._title, self._total, self._console = title, total, console
        self._count = 0
        self._began = time.perf_counter()
        self._bar: Progress | None = None

    def __call__(self) -> None:
        """One more file is decoded."""
        self._count += 1
        if self._console.is_terminal:
            if self._bar is None:
                self._bar = Progress(console=self._console, transient=True)
                self._bar.add_task(f"decoding {self._title}", total=self._total)
                self._bar.start()
            self._bar.update(TaskID(0), completed=self._count)

    def close(self) -> None:
        """Take the bar away and say how long it took."""
        if self._bar is not None:
            self._bar.stop()
        if self._count:
            seconds = time.perf_counter() - self._began
            self._console.print(f"{self._title}: {self._count} files decoded in {seconds:.1f} s", highlight=False)


def make_console() -> Console:
    """The console that everything is printed to: standard output, without wrapping where it is not a terminal."""
    return Console(file=sys.stdout, soft_wrap=not sys.stdout.isatty())


def say(console: Console, *lines: str) -> None:
    """Print lines as they are."""
    for line in lines:
        console.print(line, markup=False, highlight=False)
