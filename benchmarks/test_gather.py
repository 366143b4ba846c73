"""Batches from a bank of 10000 segments: plain indexing, normalising, padding and lerp, against one operation.

Every run draws its own starts, so that frames come from memory and not from a cache.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytest
import torch
from fastser_kernels import gather_mixup, gather_segments
from fastser_kernels.gather import reference
from fastser_kernels.gather.op import ideal_bytes
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from fastser.settings import SCALES

SEGMENTS, TURNS = 10_000, 40
MEAN, STD = -40.0, 15.0
WINDOWS = {"segments": 1, "mixup": 2}
WORKLOADS = {"64 segments, paper": (64, "paper"), "16 segments, quick": (16, "quick")}
PROVIDERS: dict[str, dict[str, Callable[..., Tensor]]] = {
    "segments": {"eager": reference.gather_segments, "fastser": gather_segments},
    "mixup": {"eager": reference.gather_mixup, "fastser": gather_mixup},
}


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return str(request.param)


@dataclass(frozen=True)
class Workload:
    """A bank, and how batches are drawn from it."""

    name: str
    frames: Tensor
    batch: int
    segment_frames: int

    def draw(self, operation: str) -> tuple[Any, ...]:
        """Arguments: random starts, every fourth segment of either window padded."""
        windows: list[Tensor] = []
        for first_padded in range(WINDOWS[operation]):
            start = torch.randint(len(self.frames) - self.segment_frames, (self.batch,), device=self.frames.device)
            length = torch.full_like(start, self.segment_frames)
            length[first_padded::4] //= 3
            windows += start, length
        lam = [torch.rand(self.batch, device=self.frames.device)] if operation == "mixup" else []
        return self.frames, *windows, *lam, MEAN, STD, self.segment_frames


@pytest.fixture(scope="module", params=list(WORKLOADS))
def workload(request: pytest.FixtureRequest, device: str) -> Workload:
    batch, scale = WORKLOADS[request.param]
    spectrogram = SCALES[scale].spectrogram
    frames = torch.randn(SEGMENTS * spectrogram.segment_frames // 2, spectrogram.num_bins, device=device)
    return Workload(request.param, frames.mul_(STD).add_(MEAN), batch, spectrogram.segment_frames)


def finish(run: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Call, and wait for the device."""
    result = run(*arguments)
    if result.is_cuda:
        torch.cuda.synchronize()
    return result


@pytest.mark.parametrize("provider", ["eager", "fastser"])
@pytest.mark.parametrize("operation", list(PROVIDERS))
def test_gather(benchmark: BenchmarkFixture, operation: str, provider: str, workload: Workload, device: str) -> None:
    """`extra_info["ratio"]` is the eager median over this provider's, of runs that take turns."""
    providers = PROVIDERS[operation]
    arguments = workload.draw(operation)
    torch.testing.assert_close(*(run(*arguments) for run in providers.values()))
    benchmark.group = f"gather_{operation}, {workload.name}, {device}"
    benchmark.pedantic(
        lambda *arguments: finish(providers[provider], *arguments),
        setup=lambda: (workload.draw(operation), {}),
        rounds=TURNS,
        warmup_rounds=3,
    )
    turns: dict[str, list[float]] = {name: [] for name in providers}
    for _ in range(TURNS):
        for name, run in providers.items():
            arguments = workload.draw(operation)
            began = time.perf_counter()
            finish(run, *arguments)
            turns[name].append(time.perf_counter() - began)
    bins, itemsize = workload.frames.shape[1], workload.frames.element_size()
    ideal = ideal_bytes(workload.batch, workload.segment_frames, bins, itemsize, windows=WINDOWS[operation])
    benchmark.extra_info |= {
        "ratio": median(turns["eager"]) / median(turns[provider]),
        "ideal_bytes": ideal,
        "ideal_gb_per_s": ideal / median(turns[provider]) / 1e9,
        "threads": torch.get_num_threads(),
    }
