"""`python -m fastser.reproduce`: the tables and figure of Latif et al. 2020, from corpora on disk or from stand-ins."""

import enum
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class ScaleName(enum.StrEnum):
    """Values of `--scale`."""

    PAPER = "paper"
    QUICK = "quick"


class KernelsName(enum.StrEnum):
    """Values of `--kernels`."""

    FUSED = "fused"
    EAGER = "eager"


class ExecutorName(enum.StrEnum):
    """Values of `--executor`."""

    SERIAL = "serial"
    RAY = "ray"
    SLURM = "slurm"


SOURCE = "Corpus for clean speech, noise and attacks: iemocap=PATH, emodb=PATH, manifest=FILE.csv ..."
TARGET = "Second corpus, tested on across corpora: msp-improv=PATH, ravdess=PATH ..."
NOISE = "Noise recordings: demand=PATH or folder=PATH."
SCALE = "The published sizes, or everything made small. Default: quick for stand-ins, paper for corpora on disk."
FOLDS = "Only so many test speakers, evenly spread."
REPEATS = "How often each training is repeated with another seed."
DEVICE = "cpu, cuda or cuda:1; auto takes a GPU if there is one."
KERNELS = "Compute with fastser's own operations, or with their references in plain PyTorch (to compare)."
OUT = "Folder for tables, figure, report and finished trainings."
CHANGE = "Change a setting of the protocol, such as augmentation.mixup_alpha=0.4; may be given again."
BAD = "Go on even if more than 5 % of a corpus' files are unusable."
RETRY = "Try again what failed in an earlier run; otherwise it is only listed."
CHECKPOINT = "Least time between two checkpoints of a training that is running."
EXECUTOR = "One training after another in this process, on the workers of a Ray cluster, or as Slurm jobs."
CPUS = "Ray and Slurm: cores of one training, which are its threads."
GPUS = "Ray: GPUs of one training; 0.25 runs four on each. Default: 1 where models are trained on GPUs, else 0."
ADDRESS = "Ray: the cluster to use. Default: one is started on this machine, on loopback."
DASHBOARD = "Ray: start the dashboard too."
PER_JOB = "Slurm: trainings of one job of the array."
SLURM = "Slurm: an option of sbatch, such as partition=gpu, time=12:00:00 or gres=gpu:1; may be given again."
KEEP = "Keep every trained model's weights as OUT/models/KEY.safetensors."


@app.command()
def reproduce(
    everything: Annotated[bool, Option("--all", help="Tables 1 to 4 and Figure 2.")] = False,
    table: Annotated[
        list[int] | None, Option(metavar="N", help="One table, 1 to 4; may be given again.", min=1, max=4)
    ] = None,
    figure: Annotated[
        int | None, Option(metavar="N", help="Figure 2, the only one with numbers.", min=2, max=2)
    ] = None,
    source: Annotated[str | None, Option(metavar="NAME=PATH", help=SOURCE)] = None,
    target: Annotated[str | None, Option(metavar="NAME=PATH", help=TARGET)] = None,
    noise: Annotated[str | None, Option(metavar="NAME=PATH", help=NOISE)] = None,
    scale: Annotated[ScaleName | None, Option(help=SCALE)] = None,
    models: Annotated[str | None, Option(metavar="A,B", help="Only these models.")] = None,
    augmentations: Annotated[str | None, Option(metavar="A,B", help="Only these augmentations.")] = None,
    folds: Annotated[int | None, Option(metavar="N", help=FOLDS, min=1)] = None,
    repeats: Annotated[int | None, Option(metavar="N", help=REPEATS, min=1)] = None,
    device: Annotated[str, Option(metavar="NAME", help=DEVICE)] = "auto",
    kernels: Annotated[KernelsName, Option(help=KERNELS)] = KernelsName.FUSED,
    seed: Annotated[int, Option(metavar="N", help="Seed from which all others are derived.", min=0)] = 0,
    out: Annotated[Path, Option(metavar="DIR", help=OUT)] = Path("results"),
    change: Annotated[list[str] | None, Option("--set", metavar="NAME=VALUE", help=CHANGE)] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the grid and an estimate of the time; stop.")] = False,
    allow_bad_files: Annotated[bool, Option("--allow-bad-files", help=BAD)] = False,
    keep_models: Annotated[bool, Option("--keep-models", help=KEEP)] = False,
    retry_failed: Annotated[bool, Option("--retry-failed", help=RETRY)] = False,
    checkpoint_minutes: Annotated[float, Option(metavar="MIN", help=CHECKPOINT, min=0)] = 3.0,
    executor: Annotated[ExecutorName, Option(help=EXECUTOR)] = ExecutorName.SERIAL,
    cpus_per_run: Annotated[int, Option(metavar="N", help=CPUS, min=1)] = 1,
    gpus_per_run: Annotated[float | None, Option(metavar="X", help=GPUS, min=0)] = None,
    ray_address: Annotated[str | None, Option(metavar="HOST:PORT", help=ADDRESS)] = None,
    ray_dashboard: Annotated[bool, Option("--ray-dashboard", help=DASHBOARD)] = False,
    runs_per_job: Annotated[int, Option(metavar="N", help=PER_JOB, min=1)] = 1,
    slurm: Annotated[list[str] | None, Option(metavar="NAME=VALUE", help=SLURM)] = None,
) -> int:
    """Reproduce Latif et al. 2020: speech emotion recognition under noise, adversarial attack and corpus change.

    Without --source, --target and --noise, small synthetic stand-ins for IEMOCAP, MSP-IMPROV and DEMAND are made and
    used. Run again with the same arguments, it goes on where it was and repeats nothing that was finished.

    Models: cnn, cnn-lstm, densenet, densenet-lstm, proposed. Augmentations: none, speed, mixup, speed+mixup.

    Exit status: 0 all done; 1 some trainings failed; 2 unusable arguments or data; 130 interrupted.
    """
    from fastser.cli.main import USER_ERRORS, run  # torch is loaded only now: --help stays quick
    from fastser.cli.options import CliOptions

    tables = {f"table{number}" for number in table or ()} | ({"figure2"} if figure else set())
    if everything:
        tables = {"table1", "table2", "table3", "table4", "figure2"}
    try:
        return run(
            CliOptions(
                tables=frozenset(tables),
                source=source,
                target=target,
                noise=noise,
                scale=scale.value if scale else None,
                models=models,
                augmentations=augmentations,
                folds=folds,
                repeats=repeats,
                device=device,
                kernels=kernels.value,
                seed=seed,
                out=out,
                changes=tuple(change or ()),
                dry_run=dry_run,
                allow_bad_files=allow_bad_files,
                keep_models=keep_models,
                retry_failed=retry_failed,
                checkpoint_minutes=checkpoint_minutes,
                executor=executor.value,
                cpus_per_run=cpus_per_run,
                gpus_per_run=gpus_per_run,
                ray_address=ray_address,
                ray_dashboard=ray_dashboard,
                runs_per_job=runs_per_job,
                slurm=tuple(slurm or ()),
            )
        )
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130


def main() -> None:
    """Run the command line and exit with its status."""
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        status = 2
    sys.exit(status)


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
