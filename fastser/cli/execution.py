"""Common part of the commands that execute runs: their beginning, the runs, and their end."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from rich.console import Console

from fastser.cli.console import make_console, say
from fastser.cli.ending import finished_lines, interrupted_line
from fastser.cli.options import GridOptions, UsageError
from fastser.cli.run_display import Display
from fastser.cli.signals import first_signal_stops
from fastser.cli.steps import MODEL_TIMES, steps
from fastser.evaluation.conditions import headline_names
from fastser.experiment.estimate import MEASUREMENTS, CostModel
from fastser.experiment.executors import EXECUTORS, Executor, Work
from fastser.experiment.executors.automatic import with_named_executor
from fastser.experiment.executors.runner import Runner
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId
from fastser.experiment.options import RunOptions
from fastser.experiment.own_models import register_own_models
from fastser.experiment.store import ResultStore
from fastser.experiment.stored_runs import StoredRuns
from fastser.runtime.files import cache_dir, expanded_output, remove_stale_parts
from fastser.runtime.registry import UnknownNameError
from fastser.settings import Settings
from fastser.training.yardsticks import YARDSTICKS

AnyOptions = TypeVar("AnyOptions", bound=GridOptions)


@dataclass(frozen=True)
class Batch:
    """Runs that are executed before those of the next batch begin.

    Attributes:
        title: Line that is printed before, or an empty text.
        runner: Data, settings and results folder.
        runs: The runs, in the order in which they are to be begun.
    """

    title: str
    runner: Runner
    runs: Sequence[RunId]


@dataclass(frozen=True)
class Execution:
    """The end of all batches.

    Attributes:
        planned: The whole plan.
        store: Results folder.
        failures: Failed runs, each with its reason.
        stopped: Whether the user has stopped the command.
        seconds: Wall time.
    """

    planned: Sequence[RunId]
    store: ResultStore
    failures: Sequence[tuple[RunId, str]]
    stopped: bool
    seconds: float

    def failed(self) -> list[tuple[RunId, str]]:
        """Return the failed runs in the order of the plan, also those of other processes, each with its reason."""
        recorded = {failure.id.key: failure.reason for failure in self.store.failures(self.planned)}
        reasons = {run_id.key: reason for run_id, reason in self.failures} | recorded
        return [(run_id, reasons[run_id.key]) for run_id in self.planned if run_id.key in reasons]


@dataclass(frozen=True)
class Setup(Generic[AnyOptions]):
    """Checked options, console and executor of a command.

    Attributes:
        options: Options with the path of the results folder and the name of an executor.
        console: Console for all output.
        executor: The executor.
    """

    options: AnyOptions
    console: Console
    executor: Executor

    def store(self) -> StoredRuns:
        """Return the results folder, which a dry run only reads."""
        return StoredRuns(self.options.out) if self.options.dry_run else ResultStore(self.options.out)

    def data_device(self, device: torch.device) -> torch.device:
        """Return the device of the data in this process.

        Args:
            device: Device of the models.
        """
        return device if self.executor.in_this_process else torch.device("cpu")

    def runner(self, experiment: Experiment, store: ResultStore) -> Runner:
        """Return what executes runs as the options ask for."""
        return Runner(
            experiment,
            store,
            keep_models=self.options.keep_models,
            checkpoint_seconds=60 * self.options.checkpoint_minutes,
            retry_failed=self.options.retry_failed,
        )

    def measured(
        self, experiment: Experiment, todo: Collection[RunId], data_device: torch.device, threads: int
    ) -> CostModel:
        """Measure the cost of the models of some runs, and show the progress."""
        models = sorted({run_id.point.model for run_id in todo})
        number = MEASUREMENTS * sum(model not in YARDSTICKS for model in models)
        with steps(MODEL_TIMES, number, self.console) as on_step:
            return CostModel.measure(models, experiment, data_device, threads, on_step)

    def execute(
        self,
        planned: Sequence[RunId],
        store: ResultStore,
        batches: Iterable[Batch],
        seconds: Mapping[RunId, float],
        settings: Settings,
        at_a_time: int,
        failures: Sequence[tuple[RunId, str]] = (),
    ) -> Execution:
        """Execute the runs, and show their progress. The first signal stops them where they can be continued.

        Args:
            planned: The whole plan.
            store: Results folder.
            batches: The runs.
            seconds: Estimated seconds of each run that is still to do.
            settings: Settings of the display.
            at_a_time: Number of runs that this machine executes at a time.
            failures: Runs that failed before and are not tried again, each with its reason.
        """
        began, found = time.perf_counter(), [*failures]
        costs = {run_id.key: duration for run_id, duration in seconds.items()}
        display = Display(len(planned), costs, settings.training.max_epochs, headline_names(settings), self.console)
        with first_signal_stops(lambda: say(self.console, self.executor.stop_message)) as stop, display.shown():
            for batch in batches:
                if stop.is_set():
                    break
                say(self.console, *filter(None, [batch.title]))
                runner = replace(batch.runner, stop=stop)
                for outcome in self.executor.run(Work(runner, batch.runs, self.options, display.lane, at_a_time)):
                    display.finished(outcome)
                    if outcome.failure is not None:
                        found.append((outcome.run_id, outcome.failure))
        return Execution(planned, store, found, stop.is_set(), time.perf_counter() - began)

    def end(self, execution: Execution, reused: int, report: Callable[[], list[str]]) -> int:
        """Print how the runs ended, and write the report.

        Args:
            execution: The end of the runs.
            reused: Number of runs that were finished before.
            report: Writes the report, and returns lines to print.

        Returns:
            Exit status: 0, 1 if some runs failed, 130 if interrupted.
        """
        planned = len(execution.planned)
        if execution.stopped:
            done = sum(execution.store.finished(run_id.key) for run_id in execution.planned)
            say(self.console, interrupted_line(done, planned, self.options.out), *report())
            return 130
        say(self.console, *finished_lines(planned, execution.failures, reused, execution.seconds))
        say(self.console, *report())
        return 1 if execution.failures else 0


def begin(options: AnyOptions) -> Setup[AnyOptions]:
    """Check the options of the executor, and register the user's own models, before anything is read.

    Raises:
        UsageError: If there is no such executor, or an option is for another one.
        ExecutorError: If it cannot run anything here.
        OwnModelError: If an own model cannot be used.
        DeviceError: If `--device` names no device, or a device that is not there.
        OSError: If no home folder is known for a leading "~".
    """
    options = replace(options, out=expanded_output(options.out, "Give --out the path of a folder"))
    options = with_named_executor(options)
    console = make_console()
    remove_stale_parts(cache_dir())
    executor = _checked_executor(options)
    register_own_models(options.model, Path.cwd())
    return Setup(options, console, executor)


def _checked_executor(options: RunOptions) -> Executor:
    try:
        executor = EXECUTORS[options.executor]
    except UnknownNameError as error:
        raise UsageError(f"--executor: {error}") from None
    for flag, owners in options.foreign_options():
        raise UsageError(f"{flag} is for --executor {' or '.join(owners)}, this is --executor {executor.name}")
    executor.check(options)
    return executor
