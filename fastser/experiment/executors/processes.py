"""Executor of several runs at a time, each in a worker process of this machine."""

from collections.abc import Iterator, Sequence

import torch

from fastser.experiment.executors.executor import Placement, Work
from fastser.experiment.executors.outcomes import Outcome
from fastser.experiment.executors.pool import Pool
from fastser.experiment.executors.process_workers import ProcessWorkers
from fastser.experiment.executors.worker_config import WorkerConfig
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId
from fastser.experiment.memory import run_bytes
from fastser.experiment.options import RunOptions
from fastser.runtime.device import named_device
from fastser.runtime.resources import available_memory, usable_cores


class ProcessExecutor:
    """Executor of several runs at a time on this machine.

    A run on a CPU has the same number of threads however many run at a time, so its bits do not depend on the machine's
    number of cores.
    """

    name = "processes"
    in_this_process = False
    stop_message = "saving the running runs, so that they can be continued; press again to end at once"

    def check(self, options: RunOptions) -> None:
        """Accept any options."""

    def device(self, options: RunOptions) -> torch.device:
        """Return the device that `--device` names."""
        return named_device(options.device)

    def placement(self, options: RunOptions, experiment: Experiment, todo: Sequence[RunId]) -> Placement:
        """Place one run on each core, as far as memory allows, or one run on the GPU. `--jobs` gives the number."""
        threads, cores = options.cpus_per_run, usable_cores()
        number, notes = options.jobs, list[str]()
        if number is None and experiment.device.type == "cpu":
            number = max(cores // threads, 1)
            memory = available_memory()
            models = {run_id.point.model for run_id in todo}
            if memory is not None and number > 1 and len(todo) > 1:
                each = max(run_bytes(model, experiment) for model in sorted(models))
                if (fitting := max(memory // each, 1)) < number:
                    number = fitting
                    notes.append(
                        f"memory for {number} at a time: {memory / 1e9:.1f} GB are available, and a run may need "
                        f"{each / 1e9:.1f} GB"
                    )
        at_a_time = min(number or 1, max(len(todo), 1))
        if todo and not notes and experiment.device.type == "cpu" and (more := cores // at_a_time) > threads:
            notes.append(
                f"{cores} cores can be used: --cpus-per-run {more} shortens a run and rounds its sums differently"
            )
        return Placement(at_a_time, threads, tuple(notes))

    def run(self, work: Work) -> Iterator[Outcome]:
        """Run every run of the plan."""
        options = work.options
        config = WorkerConfig.of(work.runner, options.out, options.cpus_per_run, options.model).write()
        with ProcessWorkers(config, options.cpus_per_run, work.at_a_time) as workers:
            yield from Pool(workers, work).run()
