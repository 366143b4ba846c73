"""Every case and provider as one row; the times are those of `measurement.py`, in which providers take turns."""

from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import all_cases
from benchmarks.gate import WrongResultError
from benchmarks.measurement import Measurement, measured
from benchmarks.replay import CLOCK
from benchmarks.work import Case


def _rows() -> list[Any]:
    return [
        pytest.param(case, provider, device, id=f"{case.group}; {case.shape}; {device}; {provider}")
        for case in all_cases()
        for device in case.devices
        for provider in case.providers
    ]


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize(("case", "provider", "device"), _rows())
def test_operation(benchmark: BenchmarkFixture, case: Case, provider: str, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    rows = measured(case, torch.device(device))
    if isinstance(rows, Exception):
        raise rows
    row = rows.get(provider, "does not run on this device")
    if isinstance(row, str):
        pytest.skip(f"{provider}: {row}")
    if isinstance(row, WrongResultError):
        raise row
    benchmark.group = f"{case.group}, {case.shape}, {device}"
    CLOCK.times = list(row.seconds)
    benchmark.pedantic(CLOCK.target, rounds=len(row.seconds))
    benchmark.extra_info |= row.facts | {"provider": provider, "shape": case.shape, "operation": case.group}
    without = {name: str(other) for name, other in rows.items() if not isinstance(other, Measurement)}
    benchmark.extra_info |= {"device": device, "threads": torch.get_num_threads(), "without": without}
