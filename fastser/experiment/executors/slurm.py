"""Slurm executor: runs as jobs of a job array, through submitit.

This process looks at the results folder only. Jobs continue without it. When the command is started again, it finds the
jobs that are still queued or running in the folder `slurm` beside the results.
"""

import shutil
from collections.abc import Iterator, Sequence

import torch

from fastser.experiment.executors.cluster import one_after_another, require_extra, worker_device
from fastser.experiment.executors.executor import Placement, Work
from fastser.experiment.executors.outcomes import ExecutorError, Outcome
from fastser.experiment.executors.sbatch import sbatch_options, wants_gpu
from fastser.experiment.experiment import Experiment
from fastser.experiment.grid import RunId
from fastser.experiment.options import RunOptions


class SlurmExecutor:
    """Executor of runs as Slurm jobs."""

    name = "slurm"
    in_this_process = False
    stop_message = "the jobs stay in the queue; scancel --me --name=fastser ends them"

    def check(self, options: RunOptions) -> None:
        """Check that submitit is installed and that jobs can be submitted from here with these options."""
        require_extra("slurm", "submitit")
        sbatch_options(options.slurm)
        if options.dry_run:
            return
        for command in ("sbatch", "srun"):
            if shutil.which(command) is None:
                raise ExecutorError(
                    f"--executor slurm: there is no {command} here; run this on a login node of the cluster"
                )

    def device(self, options: RunOptions) -> torch.device:
        """Return the device of the jobs: a GPU if the options of sbatch ask for one."""
        return worker_device(options, wants_gpu(options.slurm))

    def placement(self, options: RunOptions, experiment: Experiment, todo: Sequence[RunId]) -> Placement:  # noqa: ARG002
        """Return the threads of one run. The number of jobs at a time is up to Slurm."""
        return one_after_another(options)

    def run(self, work: Work) -> Iterator[Outcome]:
        """Submit every run that is neither finished nor in a job, and watch the results folder."""
        from fastser.experiment.executors.slurm_jobs import run_as_jobs  # imports submitit

        return run_as_jobs(work)
