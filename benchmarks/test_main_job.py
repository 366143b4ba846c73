"""The main job on the stand-ins, as a user starts it, with our operations and with their references."""

import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.replay import CLOCK

KERNELS = {"eager": "eager", "fastser": "fused"}
GRIDS = {
    "every model once": ["--folds=1", "--augmentations=none"],
    "all 70 trainings": [],
}
ROUNDS = {"every model once": 2, "all 70 trainings": 1}


def _seconds(kernels: str, grid: list[str], cache_folder: Path) -> float:
    with TemporaryDirectory() as out:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "fastser.reproduce", "--all", "--kernels", kernels, "--out", out, *grid],
            env=os.environ | {"FASTSER_CACHE": str(cache_folder)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - began


@cache
def measured(what: str) -> dict[str, list[float]]:
    """Seconds of each round by provider, in turn; the stand-ins are decoded before."""
    samples: dict[str, list[float]] = {name: [] for name in KERNELS}
    with TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "fastser.reproduce", "--all", "--dry-run"],
            env=os.environ | {"FASTSER_CACHE": folder},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for number in range(ROUNDS[what]):
            for name in sorted(KERNELS, reverse=number % 2 == 1):
                samples[name].append(_seconds(KERNELS[name], GRIDS[what], Path(folder)))
    return samples


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("what", GRIDS)
@pytest.mark.parametrize("provider", KERNELS)
def test_main_job(benchmark: BenchmarkFixture, request: pytest.FixtureRequest, provider: str, what: str) -> None:
    if not GRIDS[what] and not request.config.getoption("--whole-main-job"):
        pytest.skip("--whole-main-job runs it (about 8 minutes on 2 cores)")
    samples = measured(what)
    benchmark.group = f"main job, quick scale, {what}"
    CLOCK.times = list(samples[provider])
    benchmark.pedantic(CLOCK.target, rounds=len(CLOCK.times))
    ratio = median(eager / own for eager, own in zip(samples["eager"], samples[provider], strict=True))
    benchmark.extra_info |= {"provider": provider, "shape": f"quick scale, {what}", "operation": "main job"}
    benchmark.extra_info |= {"device": "auto", "times_eager": ratio}
