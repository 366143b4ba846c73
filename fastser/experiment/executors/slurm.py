"""Run the trainings as Slurm jobs, through submitit: job arrays, some trainings to a job.

The results store is all that this process looks at; jobs go on without it, and when it is started again it finds those
that are still queued or running in the folder `slurm` beside the results.
"""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, JobPaths

from fastser.experiment.executors import ExecutorError, Outcome, cell_of
from fastser.experiment.executors.slurm_worker import Chunk
from fastser.experiment.store import ResultStore, Run, RunId
from fastser.runtime.files import atomic_write

RESERVED = (
    *("array", "output", "error", "open-mode", "signal", "ntasks", "ntasks-per-node", "nodes", "requeue", "wrap"),
    *("cpus-per-task", "job-name"),
)
"""Options of sbatch that are not the user's to set."""

_WITH_VALUE = ("time", "partition", "account", "gres", "mem", "qos", "constraint", "array-parallelism")
_DEFAULT_MINUTES = 24 * 60
_TIME_LIMITS_IN_A_ROW = 1000  # each goes on where it was
_POLL_SECONDS = 2.0
_LOOK_AT_QUEUE_SECONDS = 30.0
_VISIBLE_AFTER_SECONDS = 60.0


@dataclass(frozen=True)
class Submission:
    """How jobs are submitted.

    Attributes:
        folder: For submitit's files, logs and the list of jobs; on storage that every node sees.
        runs_per_job: Trainings of one job.
        cpus: Cores of one job, which are the threads of its training too.
        options: Options of sbatch, each "key=value", or "key" for one that takes no value.
        retry_failed: Whether what had failed before is submitted again.
    """

    folder: Path
    runs_per_job: int
    cpus: int
    options: tuple[str, ...]
    retry_failed: bool


def wants_gpu(options: Sequence[str]) -> bool:
    """Whether options of sbatch ask for a GPU."""
    return any(option.lstrip("-").startswith(("gpus", "gres=gpu")) for option in options)


def sbatch_options(options: Sequence[str]) -> dict[str, Any]:
    """Options of sbatch by their long name, without dashes; True where there is no value.

    Raises:
        ExecutorError: If one cannot be the user's.
    """
    named: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        name = name.strip().lstrip("-").replace("_", "-")
        if not re.fullmatch("[a-z][a-z-]*[a-z]", name):
            raise ExecutorError(
                f"--slurm {option}: expected the long name of an option of sbatch, such as partition=gpu"
            )
        if name in RESERVED:
            raise ExecutorError(f"--slurm {option}: fastser sets this option of sbatch itself (cores: --cpus-per-run)")
        if name in _WITH_VALUE and not value:
            raise ExecutorError(f"--slurm {option}: expected {name}=VALUE")
        named[name] = value if equals else True
    if not str(named.get("array-parallelism", 1)).isdecimal():
        raise ExecutorError(f"--slurm array-parallelism={named['array-parallelism']}: expected a whole number")
    if "time" in named:
        minutes(named["time"])
    return named


def check(options: Sequence[str]) -> None:
    """Find out whether jobs can be submitted from here, and with these options.

    Raises:
        ExecutorError: If not.
    """
    sbatch_options(options)
    for command in ("sbatch", "srun"):
        if shutil.which(command) is None:
            raise ExecutorError(
                f"--executor slurm: there is no {command} here; run this on a login node of the cluster"
            )


def minutes(limit: str) -> int:
    """A time limit as sbatch takes it ("90", "12:30:00", "2-00"), in minutes, rounded up.

    Raises:
        ExecutorError: If it is none.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit)
    if match is None:
        raise ExecutorError(f"--slurm time={limit}: expected minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS")
    days, *parts = match.groups()
    first, second, third = (int(part or 0) for part in parts)
    if days is not None or parts[2] is not None:
        hours, mins, secs = first, second, third
    else:
        hours, mins, secs = 0, first, second
    return max((int(days or 0) * 24 + hours) * 60 + mins + -(-secs // 60), 1)


def submitter(submission: Submission) -> submitit.Executor:
    """What turns chunks of trainings into jobs.

    Raises:
        ExecutorError: If an option is refused.
    """
    options = sbatch_options(submission.options)
    executor = submitit.SlurmExecutor(submission.folder, max_num_timeout=_TIME_LIMITS_IN_A_ROW)
    parallel = options.pop("array-parallelism", None)
    executor.update_parameters(
        job_name="fastser",
        time=minutes(options.pop("time")) if "time" in options else _DEFAULT_MINUTES,
        cpus_per_task=submission.cpus,
        setup=[f"export OMP_NUM_THREADS={submission.cpus} MKL_NUM_THREADS={submission.cpus}"],
        additional_parameters=options | {"requeue": True},
        **({"array_parallelism": int(parallel)} if parallel else {}),
    )
    return executor


def run(
    spec: Path, submission: Submission, store: ResultStore, trainings: Sequence[RunId], stop: threading.Event
) -> Iterator[Outcome]:
    """Submit those trainings that are neither finished nor in a job, and yield an outcome for every one.

    Args:
        spec: What `WorkerConfig.write` wrote.
        submission: How jobs are submitted.
        store: The same results as in `spec`.
        trainings: The plan, in the order in which it is to be begun.
        stop: When it is set this function returns; the jobs stay.

    Raises:
        ExecutorError: If nothing can be submitted.
    """
    submission.folder.mkdir(mode=0o700, exist_ok=True)  # submitit loads pickles from it
    executor = submitter(submission)
    failed = {training.key: store.failure(training.key) for training in trainings}
    waiting: dict[str, RunId] = {}
    for training in trainings:
        failure = failed[training.key]
        if store.finished(training.key):
            yield Outcome(training, None, {})
        elif failure is not None and not submission.retry_failed:
            yield Outcome(training, None, {}, failure.reason)
        else:
            waiting[training.key] = training
    jobs = _jobs_of_before(submission.folder)
    in_a_job = {key for keys in jobs.values() for key in keys}
    jobs |= _submit(executor, spec, submission, [t for key, t in waiting.items() if key not in in_a_job])
    looked, over = time.monotonic(), dict[str, float]()
    while waiting and not stop.wait(_POLL_SECONDS):
        for key in [key for key in waiting if store.finished(key)]:
            yield Outcome(waiting.pop(key), _seconds(store.load(key)), store.posteriors(key))
        for key in list(waiting):
            failure = store.failure(key)
            if failure is not None and failure != failed[key]:
                yield Outcome(waiting.pop(key), None, {}, failure.reason)
        now = time.monotonic()
        if now - looked > _LOOK_AT_QUEUE_SECONDS:
            looked, alive = now, queued()
            over = {job: over.get(job, now) for job in jobs if alive is not None and job not in alive}
        for job in [job for job, since in over.items() if now - since > _VISIBLE_AFTER_SECONDS]:
            del over[job]
            log = JobPaths(submission.folder, job).stderr
            for key in [key for key in jobs.pop(job) if key in waiting]:
                yield Outcome(waiting.pop(key), None, {}, f"Slurm job {job} ended without it; its log is {log}")


def queued() -> set[str] | None:
    """Ids of the user's jobs that wait or run, those of arrays as "array_task"; None if Slurm does not say."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if asked.returncode else set(asked.stdout.split())


def _submit(
    executor: submitit.Executor, spec: Path, submission: Submission, trainings: Sequence[RunId]
) -> dict[str, list[str]]:
    """Submit one job array, and note which job holds which keys."""
    size = submission.runs_per_job
    parts = [trainings[first : first + size] for first in range(0, len(trainings), size)]
    if not parts:
        return {}
    chunks = [
        Chunk(str(spec), [cell_of(training) for training in part], [training.key for training in part])
        for part in parts
    ]
    try:
        with executor.batch():
            jobs = [executor.submit(chunk) for chunk in chunks]
    except FailedJobError as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Try ")]
        raise ExecutorError(f"sbatch refuses the jobs: {'; '.join(said)}") from error
    held = {job.job_id: chunk.keys for job, chunk in zip(jobs, chunks, strict=True)}
    with atomic_write(submission.folder / f"jobs-{jobs[0].job_id}.json") as file:
        file.write_text(json.dumps(held))
    return held


def _jobs_of_before(folder: Path) -> dict[str, list[str]]:
    """What jobs hold that an earlier call submitted and that are not over."""
    files = sorted(folder.glob("jobs-*.json"))
    alive = queued() if files else set()
    if alive is None:
        raise ExecutorError(f"squeue does not answer, so the jobs noted in {folder} cannot be found; try again later")
    before: dict[str, list[str]] = {}
    for file in files:
        jobs = {job: keys for job, keys in json.loads(file.read_text()).items() if job in alive}
        if not jobs:
            file.unlink()
        before |= jobs
    return before


def _seconds(run: Run) -> float:
    return float(run.facts["training_seconds"] + run.facts["test_seconds"])
