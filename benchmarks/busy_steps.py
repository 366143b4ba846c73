"""Training steps at quick scale on a quiet and on a busy machine: `python -m benchmarks.busy_steps [ENVIRONMENT ...]`.

Such a step consists of many short parallel regions. On a busy machine each region may wait for a thread that does not
run. The command times steps in a process alone, and then beside as many busy loops as there are cores, because a bound
on the waiting of OpenMP must not cost more on a quiet machine than it saves on a busy one.

An ENVIRONMENT is "NAME=VALUE,NAME=VALUE", "none" for the environment as it is, or "commands" for the one that fastser's
commands set. `--threads N` sets torch's threads. Example:

    python -m benchmarks.busy_steps none commands OMP_WAIT_POLICY=PASSIVE
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from fastser.runtime.openmp import waiting_of_commands

MODELS = ("proposed", "densenet")
BATCH = 16
QUIET_SECONDS, BUSY_SECONDS = 1.5, 4.0
_FEWEST_STEPS = 15
_BUSY_LOOP = "while True: pass"


def environment_of(text: str) -> dict[str, str]:
    """Return the variables that an argument names.

    Raises:
        ValueError: If a part of it is not NAME=VALUE.
    """
    if text == "none":
        return {}
    if text == "commands":
        return waiting_of_commands(os.environ)
    pairs = [part.partition("=") for part in text.split(",")]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"{wrong[0]}: expected NAME=VALUE, none or commands")
    return {name: value for name, _, value in pairs}


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """Keep cores busy within a block."""
    loops = [subprocess.Popen([sys.executable, "-c", _BUSY_LOOP]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def step_seconds(name: str) -> dict[str, float]:
    """Return the median seconds of a training step of a model in this process, "quiet" and "busy"."""
    import torch

    from fastser.models import build_model
    from fastser.runtime.malloc import keep_freed_memory
    from fastser.settings import QUICK
    from fastser.training.loss import loss_function

    keep_freed_memory()
    torch.manual_seed(0)
    size = QUICK.spectrogram.segment_frames, QUICK.spectrogram.num_bins
    model = build_model(name, settings=QUICK.model, segment_frames=size[0], num_bins=size[1])
    x, y = torch.randn(BATCH, *size), torch.randint(4, (BATCH,))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    compute_loss = loss_function(x.device, "float32")

    def steps(for_seconds: float) -> float:
        seconds: list[float] = []
        while sum(seconds) < for_seconds or len(seconds) < _FEWEST_STEPS:
            began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            compute_loss(model, x, y, None, None).backward()
            optimizer.step()
            seconds.append(time.perf_counter() - began)
        return median(seconds)

    steps(0.3)
    quiet = steps(QUIET_SECONDS)
    with busy_loops(os.cpu_count() or 1):
        return {"quiet": quiet, "busy": steps(BUSY_SECONDS)}


def measured(name: str, variables: Mapping[str, str], threads: int | None) -> dict[str, float]:
    """Return the seconds of `step_seconds` in a new process with these environment variables."""
    environment = os.environ | dict(variables) | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    command = [sys.executable, "-m", "benchmarks.busy_steps", "--measure", name]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds: dict[str, float] = json.loads(run.stdout)
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each environment and model."""
    parser = argparse.ArgumentParser("python -m benchmarks.busy_steps", description="Steps on quiet and busy machines.")
    parser.add_argument("environments", nargs="*", default=["none", "commands"], metavar="ENVIRONMENT")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--measure", choices=MODELS, help="measure in this process, and print JSON")
    given: Any = parser.parse_args(arguments)
    if given.measure:
        print(json.dumps(step_seconds(given.measure)))
        return
    for text in given.environments:
        for name in MODELS:
            seconds = measured(name, environment_of(text), given.threads)
            print(
                f"{name:9} {text:32} quiet {1000 * seconds['quiet']:6.1f} ms, busy {1000 * seconds['busy']:6.1f} ms, "
                f"{seconds['busy'] / seconds['quiet']:.1f} times",
                flush=True,
            )


if __name__ == "__main__":
    main()
