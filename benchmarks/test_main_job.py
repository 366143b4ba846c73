"""Benchmarks of the main job on the stand-ins, as a user starts it, with operations and with references."""

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

from benchmarks.replay_clock import CLOCK

KERNELS = {"eager": "reference", "fastser": "fused"}
"""Value of `--kernels` by provider."""

GRIDS = {
    "every model once": ["--folds=1", "--augmentations=none"],
    "all 80 runs": [],
}
ROUNDS = {"every model once": 2, "all 80 runs": 1}


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
def measured(title: str) -> dict[str, list[float]]:
    """Return the seconds of each round by provider. The providers take turns, and the stand-ins are decoded before."""
    samples: dict[str, list[float]] = {name: [] for name in KERNELS}
    with TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "fastser.reproduce", "--all", "--dry-run"],
            env=os.environ | {"FASTSER_CACHE": folder},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for number in range(ROUNDS[title]):
            for name in sorted(KERNELS, reverse=number % 2 == 1):
                samples[name].append(_seconds(KERNELS[name], GRIDS[title], Path(folder)))
    return samples


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("title", GRIDS)
@pytest.mark.parametrize("provider", KERNELS)
def test_main_job(benchmark: BenchmarkFixture, request: pytest.FixtureRequest, provider: str, title: str) -> None:
    if not GRIDS[title] and not request.config.getoption("--whole-main-job"):
        pytest.skip("give --whole-main-job to run it (about 8 minutes on 2 cores)")
    samples = measured(title)
    benchmark.group = f"main job, quick scale, {title}"
    CLOCK.times = list(samples[provider])
    benchmark.pedantic(CLOCK.target, rounds=len(CLOCK.times))
    ratio = median(eager / own for eager, own in zip(samples["eager"], samples[provider], strict=True))
    benchmark.extra_info |= {"provider": provider, "shape": f"quick scale, {title}", "operation": "main job"}
    benchmark.extra_info |= {"device": "auto", "times_eager": ratio}
