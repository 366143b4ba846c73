"""Benchmarks of all cases in `cases/`, one row per case, device and provider.

In `measurement.py` the providers of a case take turns. This module passes their times to pytest-benchmark.
"""

from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.case import Case
from benchmarks.cases import all_cases
from benchmarks.gate import WrongResultError
from benchmarks.measurement import Measurement, measured
from benchmarks.replay_clock import CLOCK


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
        pytest.skip("there is no CUDA device")
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
    benchmark.extra_info |= row.extra_info | {"provider": provider, "shape": case.shape, "operation": case.group}
    without = {name: str(other) for name, other in rows.items() if not isinstance(other, Measurement)}
    benchmark.extra_info |= {"device": device, "threads": torch.get_num_threads(), "without": without}
