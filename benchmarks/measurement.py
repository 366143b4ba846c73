"""Measurement of one case: the gate, then the times of all providers in turn, then memory and launches."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.case import Call, Case, Workload
from benchmarks.gate import WrongResultError
from benchmarks.limits import limits
from benchmarks.memory import kernel_launches, peak_bytes, saved_for_backward
from benchmarks.timing import first_call, interleaved, on_cpu, on_gpu, on_gpu_without_graph
from fastser.runtime.malloc import keep_freed_memory


@dataclass(frozen=True)
class Measurement:
    """Measurement of one provider.

    Attributes:
        seconds: Seconds of each round.
        extra_info: Further columns of the row, as pytest-benchmark stores them.
    """

    seconds: list[float]
    extra_info: dict[str, Any]


Row = Measurement | WrongResultError | str
"""Outcome of one provider: a measurement, a wrong result, or the reason why the provider cannot run here."""


@cache
def measured(case: Case, device: torch.device) -> dict[str, Row] | Exception:
    """Measure a case once. An exception that prevents all times is returned, so that it is not computed again.

    On a CPU the case has its own process, which keeps the memory that it frees, as the main job does. The speed of
    allocating large tensors depends on the history of a process, and returning memory slows plain PyTorch down most.
    """
    try:
        if device.type == "cuda":
            return measure(case, device)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=keep_freed_memory) as pool:
            return pool.submit(measure, case, device).result()
    except Exception as error:
        return error


def measure(case: Case, device: torch.device) -> dict[str, Row]:
    """Measure all providers of a case in this process."""
    torch.manual_seed(0)
    workload = case.build(device)
    inputs = workload.inputs()
    calls, first_seconds, wrong = pass_gate(workload, inputs)
    rows: dict[str, Row] = {**workload.missing, **wrong}
    samples = interleaved({name: _timed(workload, name, call, device) for name, call in calls.items()})
    for name, call in calls.items():
        low, high = (float(q) for q in np.quantile(samples[name], (0.2, 0.8)))
        costs = {
            "p20": low,
            "p80": high,
            "first_call_seconds": round(first_seconds[name], 3),
            "peak_bytes": peak_bytes(call, device),
            "saved_bytes": _saved(workload, name, inputs),
            "launches": kernel_launches(call, device),
        }
        rows[name] = Measurement(
            samples[name], costs | _ratios(name, samples) | _against_limits(workload, samples[name], device)
        )
    return rows


def pass_gate(
    workload: Workload, inputs: tuple[Any, ...]
) -> tuple[dict[str, Call], dict[str, float], dict[str, WrongResultError]]:
    """Call every provider once and compare its results.

    Returns:
        By provider: the prepared calls of those that pass, the seconds of every first call, and the errors of those
        that fail.
    """
    exact = workload.exact(*inputs)
    calls: dict[str, Call] = {}
    seconds: dict[str, float] = {}
    wrong: dict[str, WrongResultError] = {}
    eager: Sequence[Tensor] | None = None
    for name, prepare in workload.providers.items():  # "eager" is the first
        call, results, seconds[name] = first_call(prepare, inputs)
        eager = results if eager is None else eager
        try:
            workload.gate(name, results, eager, exact)
        except WrongResultError as error:
            wrong[name] = error
        else:
            calls[name] = call
    return calls, seconds, wrong


def _timed(workload: Workload, name: str, call: Call, device: torch.device) -> Any:
    if device.type != "cuda":
        return on_cpu(call)
    return on_gpu(workload.providers[name], workload.inputs) if workload.capturable else on_gpu_without_graph(call)


def _saved(workload: Workload, name: str, inputs: tuple[Any, ...]) -> int | None:
    if name not in workload.forward:
        return None
    return saved_for_backward(lambda: workload.forward[name](*inputs), workload.parameters)


def _ratios(name: str, samples: dict[str, list[float]]) -> dict[str, float]:
    """Return the speedups over the baselines: the medians of the ratios of all rounds."""
    own = samples[name]
    return {
        f"times_{base.replace(' ', '_')}": round(median(b / o for b, o in zip(samples[base], own, strict=True)), 3)
        for base in ("eager", "eager float32", "compile")
        if base in samples
    }


def _against_limits(workload: Workload, seconds: list[float], device: torch.device) -> dict[str, Any]:
    limit, middle = limits(device.type, workload.dtype), median(seconds)
    floor = max(workload.ideal_bytes / limit.bytes_per_second, workload.ideal_flops / limit.flops_per_second)
    return {
        "ideal_bytes": workload.ideal_bytes,
        "ideal_flops": workload.ideal_flops,
        "bytes_per_second": workload.ideal_bytes / middle,
        "flops_per_second": workload.ideal_flops / middle,
        "percent_of_limit": round(100 * floor / middle, 1) if floor else None,
        "limit_bytes_per_second": limit.bytes_per_second,
        "limit_flops_per_second": limit.flops_per_second,
    }
