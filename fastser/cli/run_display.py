"""Progress of runs: bars in a terminal, a line for each finished run."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from fastser.cli.console import say
from fastser.experiment.executors import Outcome
from fastser.experiment.grid import RunId
from fastser.runtime.duration import format_duration
from fastser.training.schedule import Epoch


class Display:
    """Progress of the whole plan, of every running run, and the remaining time.

    The remaining time is the estimate for the unfinished runs, scaled by the pace of all runs since the first one
    began, in whichever process.

    Args:
        total: Number of runs in the plan.
        costs: Estimated seconds of each run that is still to do, by key.
        max_epochs: Epoch limit of a training.
        headline: Names of the conditions whose results are printed when a run ends.
        console: Console for all output.
    """

    def __init__(
        self, total: int, costs: dict[str, float], max_epochs: int, headline: Collection[str], console: Console
    ) -> None:
        self._console = console
        self._total = total
        self._headline = headline
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
        """Show bars during the block, if the console is a terminal."""
        if not self._console.is_terminal:
            yield self
            return
        columns = (
            TextColumn(
                "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
            ),
            BarColumn(12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(min_width=22, no_wrap=True)),
        )
        with Progress(*columns, console=self._console, transient=True, expand=True) as self._bars:
            self._overall = self._bars.add_task("all runs", total=self._total, completed=self._done, note="")
            yield self
        self._bars = None

    def lane(self) -> "Lane":
        """Return a bar for a worker that executes one run after another."""
        self._lanes.append(Lane(self._begin, self._bars, self._max_epochs))
        return self._lanes[-1]

    def _begin(self) -> None:
        """Start the clock at the first run. The start of workers does not count."""
        self._began = time.monotonic() if self._began is None else self._began

    def finished(self, outcome: Outcome) -> None:
        """Print one line for a run that this or another process has finished."""
        for lane in self._lanes:
            lane.clear(outcome.run_id)
        cost = self._costs.pop(outcome.run_id.key, None)
        if cost is None:
            return
        self._done += 1
        self._finished_cost += cost
        start, left = f"[{self._done}/{self._total}] {outcome.run_id.label}", f"{self.time_left()} left"
        if outcome.failure is not None:
            line = f"{start}  FAILED: {outcome.failure}; {left}"
        elif outcome.seconds is None:
            line = f"{start}  finished by another process; {left}"
        else:
            results = {name: result for name, result in outcome.results.items() if name in self._headline}
            uars = [f"{name} {100 * result.uar:.1f}" for name, result in results.items()]
            end = f"  ({format_duration(outcome.seconds)}); {left}"
            room = self._console.width - len(start) - len(end) - 2 if self._console.is_terminal else None
            line = f"{start}  {_first_of(uars, room)}{end}"
        say(self._console, line)
        if self._bars:
            self._bars.update(self._overall, completed=self._done, note=left)

    def time_left(self) -> str:
        """Return the remaining time as text."""
        begun = sum(lane.share * self._costs.get(lane.run_id.key, 0.0) for lane in self._lanes if lane.run_id)
        done = self._finished_cost + begun
        pace = (time.monotonic() - self._began) / done if done and self._began is not None else 1.0
        return format_duration((sum(self._costs.values()) - begun) * pace)


class Lane:
    """Listener of one worker's runs, with a bar where there are bars."""

    def __init__(self, on_start: Callable[[], None], bars: Progress | None, max_epochs: int) -> None:
        self._on_start = on_start
        self.run_id: RunId | None = None
        self.share = 0.0
        self._max_epochs = max_epochs
        self._bars = bars
        self._bar = bars.add_task("", total=max_epochs, note="", visible=False) if bars else TaskID(0)

    def started(self, run_id: RunId) -> None:
        """Show the run that begins."""
        self._on_start()
        self.run_id, self.share = run_id, 0.0
        point = run_id.point
        names = (point.model, point.augmentation, point.fold, f"repeat {point.repeat}")
        self._show(description=", ".join(names), completed=0, note="", visible=True)

    def epoch(self, epoch: Epoch) -> None:
        """Show the finished epoch."""
        self.share = epoch.number / self._max_epochs
        self._show(completed=epoch.number, note=f"validation {100 * epoch.score:.0f} %")

    def condition(self, name: str) -> None:
        """Show the test that begins."""
        self._show(note=f"test {name}")

    def clear(self, run_id: RunId) -> None:
        """Hide the bar if it shows this run, which has ended."""
        if self.run_id == run_id:
            self.run_id = None
            self._show(visible=False)

    def _show(self, **what: Any) -> None:
        if self._bars:
            self._bars.update(self._bar, **what)


def _first_of(texts: Sequence[str], room: int | None) -> str:
    """Return texts with commas between them. Where there is no room for all, "..." stands for the last ones."""
    joined = ""
    for kept in range(len(texts), 0, -1):
        joined = ", ".join([*texts[:kept], *(["..."] if kept < len(texts) else [])])
        if room is None or len(joined) <= room:
            break
    return joined
