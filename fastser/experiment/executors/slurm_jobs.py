"""Slurm jobs: submission of job arrays, and outcomes from the results folder."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError, JobPaths

from fastser.experiment.executors.executor import Work
from fastser.experiment.executors.outcomes import ExecutorError, Outcome
from fastser.experiment.executors.sbatch import minutes, sbatch_options
from fastser.experiment.executors.slurm_worker import Chunk
from fastser.experiment.executors.worker_config import WorkerConfig
from fastser.experiment.grid import RunId
from fastser.experiment.options import RunOptions
from fastser.runtime.files import atomic_write
from fastser.runtime.openmp import waiting_of_commands

_DEFAULT_MINUTES = 24 * 60
_TIME_LIMITS_IN_A_ROW = 1000  # a run continues after each of them
_POLL_SECONDS = 2.0
_LOOK_AT_QUEUE_SECONDS = 30.0
_VISIBLE_AFTER_SECONDS = 60.0


def submitter(folder: Path, options: RunOptions) -> submitit.Executor:
    """Return submitit's executor.

    Args:
        folder: Folder for submitit's files, logs and the list of jobs, on storage that every node sees.
        options: Cores of one run and options of sbatch.

    Raises:
        ExecutorError: If an option is refused.
    """
    sbatch, cpus = sbatch_options(options.slurm), options.cpus_per_run
    waiting = [f"{name}={value}" for name, value in waiting_of_commands(os.environ).items()]
    executor = submitit.SlurmExecutor(folder, max_num_timeout=_TIME_LIMITS_IN_A_ROW)
    parallel = sbatch.pop("array-parallelism", None)
    executor.update_parameters(
        job_name="fastser",
        time=minutes(sbatch.pop("time")) if "time" in sbatch else _DEFAULT_MINUTES,
        cpus_per_task=cpus,
        setup=[f"export OMP_NUM_THREADS={cpus} MKL_NUM_THREADS={cpus}", f"export {shlex.join(waiting)}"],
        additional_parameters=sbatch | {"requeue": True},
        **({"array_parallelism": int(parallel)} if parallel else {}),
    )
    return executor


def run_as_jobs(work: Work) -> Iterator[Outcome]:
    """Submit the runs that are neither finished nor in a job, and yield an outcome for every run.

    The function returns when it is asked to stop. The jobs stay.

    Raises:
        ExecutorError: If nothing can be submitted.
    """
    runner, store, options = work.runner, work.runner.store, work.options
    config = WorkerConfig.of(runner, options.out, options.cpus_per_run, options.model).write()
    folder = options.out.resolve() / "slurm"
    folder.mkdir(mode=0o700, exist_ok=True)  # submitit loads pickles from it
    executor = submitter(folder, options)
    failed = {run_id.key: store.failure(run_id.key, again=runner.keep_models) for run_id in work.runs}
    waiting: dict[str, RunId] = {}
    for run_id in work.runs:
        outcome = runner.settled(run_id)
        if outcome is None:
            waiting[run_id.key] = run_id
        else:
            yield outcome
    jobs = _earlier_jobs(folder)
    in_a_job = {key for keys in jobs.values() for key in keys}
    to_submit = [run_id for key, run_id in waiting.items() if key not in in_a_job]
    jobs |= _submit(executor, config, folder, options.runs_per_job, to_submit)
    looked, ended = time.monotonic(), dict[str, float]()
    while waiting and not work.stop.wait(_POLL_SECONDS):
        for key in [key for key in waiting if runner.done(key)]:
            yield Outcome(waiting.pop(key), store.load(key).seconds, store.posteriors(key))
        for key in list(waiting):
            failure = store.failure(key, again=runner.keep_models)
            if failure is not None and failure != failed[key]:
                yield Outcome(waiting.pop(key), None, {}, failure.reason)
        now = time.monotonic()
        if now - looked > _LOOK_AT_QUEUE_SECONDS:
            looked, alive = now, queued()
            ended = {job: ended.get(job, now) for job in jobs if alive is not None and job not in alive}
        for job in [job for job, since in ended.items() if now - since > _VISIBLE_AFTER_SECONDS]:
            del ended[job]
            log = JobPaths(folder, job).stderr
            for key in [key for key in jobs.pop(job) if key in waiting]:
                yield Outcome(waiting.pop(key), None, {}, f"Slurm job {job} ended without it; its log is {log}")


def queued() -> set[str] | None:
    """Return the ids of the user's waiting and running jobs, or None if Slurm does not answer.

    Jobs of an array are listed as "array_task".
    """
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if asked.returncode else set(asked.stdout.split())


def _submit(
    executor: submitit.Executor, config: Path, folder: Path, runs_per_job: int, runs: Sequence[RunId]
) -> dict[str, list[str]]:
    """Submit one job array, and record the keys that each job holds."""
    parts = [runs[first : first + runs_per_job] for first in range(0, len(runs), runs_per_job)]
    if not parts:
        return {}
    chunks = [Chunk(str(config), [run_id.point for run_id in part], [run_id.key for run_id in part]) for part in parts]
    try:
        with executor.batch():
            jobs = [executor.submit(chunk) for chunk in chunks]
    except FailedJobError as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Try ")]
        raise ExecutorError(f"sbatch refuses the jobs: {'; '.join(said)}") from error
    held = {job.job_id: chunk.keys for job, chunk in zip(jobs, chunks, strict=True)}
    with atomic_write(folder / f"jobs-{jobs[0].job_id}.json") as file:
        file.write_text(json.dumps(held))
    return held


def _earlier_jobs(folder: Path) -> dict[str, list[str]]:
    """Return the keys in jobs of earlier calls that are still waiting or running, by job."""
    files = sorted(folder.glob("jobs-*.json"))
    alive = queued() if files else set()
    if alive is None:
        raise ExecutorError(f"squeue does not answer, so the jobs noted in {folder} cannot be found; try again later")
    earlier: dict[str, list[str]] = {}
    for file in files:
        jobs = {job: keys for job, keys in json.loads(file.read_text()).items() if job in alive}
        if not jobs:
            file.unlink()
        earlier |= jobs
    return earlier
