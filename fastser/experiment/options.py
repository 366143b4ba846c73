"""Options that say how runs are executed. Torch is not imported here, so that `--help` is quick."""

from dataclasses import dataclass, fields
from pathlib import Path

from fastser.runtime.options import Group, OptionInfo, flag_of, option


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options that say how runs are executed, and which models of the user workers import."""

    device: str = option(
        "auto", "cpu, cuda or cuda:1. auto takes a GPU if there is one.", metavar="NAME", group=Group.EXECUTION
    )
    out: Path = option(
        Path("results"), "Folder for tables, figure, report and finished runs.", metavar="DIR", group=Group.RESULTS
    )
    dry_run: bool = option(False, "Print the grid and an estimate of the time, and stop.", group=Group.RUNS)
    keep_models: bool = option(
        False,
        "Keep the weights of every trained model as OUT/models/KEY.safetensors, with a model card KEY.md. Finished "
        "runs whose weights were not kept are made again.",
        group=Group.RESULTS,
    )
    retry_failed: bool = option(
        False,
        "Try failed runs of earlier calls again. Otherwise they are only listed.",
        group=Group.EXECUTION,
        rare=True,
    )
    checkpoint_minutes: float = option(
        3.0,
        "Shortest time between two checkpoints of a run.",
        metavar="MIN",
        minimum=0,
        group=Group.EXECUTION,
        rare=True,
    )
    model: tuple[str, ...] = option(
        (),
        "A model of yours beside the five: a function of num_classes, segment_frames and num_bins. May be repeated.",
        metavar="MODULE:NAME",
        group=Group.RUNS,
    )
    executor: str = option(
        "auto",
        "processes: several runs at a time, each in a process of this machine. serial: one run after another in this "
        "process. ray: workers of a Ray cluster. slurm: Slurm jobs. auto: processes for models on a CPU, else serial.",
        metavar="NAME",
        group=Group.EXECUTION,
    )
    jobs: int | None = option(
        None,
        "Runs at a time (processes). Default: one for each core, as far as memory allows; 1 on a GPU.",
        metavar="N",
        minimum=1,
        executors=("processes",),
        group=Group.EXECUTION,
    )
    cpus_per_run: int = option(
        1,
        "Cores of one run, which are its threads (processes, ray, slurm).",
        metavar="N",
        minimum=1,
        executors=("processes", "ray", "slurm"),
        group=Group.EXECUTION,
        rare=True,
    )
    gpus_per_run: float | None = option(
        None,
        "GPUs of one run (ray). 0.25 places four runs on each. Default: 1 for models on GPUs, else 0.",
        metavar="X",
        minimum=0,
        executors=("ray",),
        group=Group.EXECUTION,
        rare=True,
    )
    ray_address: str | None = option(
        None,
        "Ray cluster to use. Default: one is started on this machine.",
        metavar="HOST:PORT",
        executors=("ray",),
        group=Group.EXECUTION,
        rare=True,
    )
    ray_dashboard: bool = option(
        False, "Start Ray's dashboard too.", executors=("ray",), group=Group.EXECUTION, rare=True
    )
    runs_per_job: int = option(
        1,
        "Runs of one job of the array (slurm).",
        metavar="N",
        minimum=1,
        executors=("slurm",),
        group=Group.EXECUTION,
        rare=True,
    )
    slurm: tuple[str, ...] = option(
        (),
        "Option of sbatch, such as partition=gpu, time=12:00:00 or gres=gpu:1. May be repeated.",
        metavar="NAME=VALUE",
        executors=("slurm",),
        group=Group.EXECUTION,
        rare=True,
    )

    def foreign_options(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the given options that are for other executors, each with the names of these executors."""
        found = []
        for field in fields(self):
            info: OptionInfo | None = field.metadata.get("option")
            if info is None or not info.executors or self.executor in info.executors:
                continue
            if getattr(self, field.name) != field.default:
                found.append((flag_of(field.name, info), info.executors))
        return found
