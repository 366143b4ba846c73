"""One case, measured: the gate first, then all providers in turn, then what a time alone does not say."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.gate import WrongResultError
from benchmarks.limits import limits
from benchmarks.memory import kernel_launches, peak_bytes, saved_for_backward
from benchmarks.timing import first_call, interleaved, on_cpu, on_gpu, on_gpu_without_graph
from benchmarks.work import Call, Case, Work
from fastser.runtime.malloc import keep_freed_memory


@dataclass(frozen=True)
class Measurement:
    """Of one provider: the seconds of every round, and what goes beside them."""

    seconds: list[float]
    facts: dict[str, Any]


Row = Measurement | WrongResultError | str
"""What a provider has: a measurement, a result that was wrong, or a reason for which it cannot run here."""


@cache
def measured(case: Case, device: torch.device) -> dict[str, Row] | Exception:
    """Measure a case, once; what goes wrong before anything is timed is returned.

    On a CPU in a process of its own, which keeps the memory that it frees as the main job does: how fast large tensors
    are allocated depends on what a process did before, and giving memory back slows down plain PyTorch most.
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
    work = case.build(device)
    inputs = work.inputs()
    exact = work.exact(*inputs)
    rows: dict[str, Row] = dict(work.missing)
    calls: dict[str, Call] = {}
    compiling: dict[str, float] = {}
    eager: Any = None
    for name, prepare in work.providers.items():  # eager is the first
        calls[name], results, compiling[name] = first_call(prepare, inputs)
        eager = results if eager is None else eager
        try:
            work.gate(name, results, eager, exact)
        except WrongResultError as error:
            rows[name] = error
            del calls[name]
    del exact, eager, results
    samples = interleaved({name: _timed(work, name, call, device) for name, call in calls.items()})
    for name, call in calls.items():
        low, high = (float(q) for q in np.quantile(samples[name], (0.2, 0.8)))
        facts = {
            "p20": low,
            "p80": high,
            "first_call_seconds": round(compiling[name], 3),
            "peak_bytes": peak_bytes(call, device),
            "saved_bytes": _saved(work, name, inputs),
            "launches": kernel_launches(call, device),
        }
        rows[name] = Measurement(
            samples[name], facts | _ratios(name, samples) | _against_limits(work, samples[name], device)
        )
    return rows


def _timed(work: Work, name: str, call: Call, device: torch.device) -> Any:
    if device.type != "cuda":
        return on_cpu(call)
    return on_gpu(work.providers[name], work.inputs) if work.capturable else on_gpu_without_graph(call)


def _saved(work: Work, name: str, inputs: tuple[Any, ...]) -> int | None:
    if name not in work.forward:
        return None
    return saved_for_backward(lambda: work.forward[name](*inputs), work.parameters)


def _ratios(name: str, samples: dict[str, list[float]]) -> dict[str, float]:
    """How many times faster than eager and than compiled PyTorch: median over the rounds of the ratio in a round."""
    return {
        f"times_{base}": round(median(b / own for b, own in zip(samples[base], samples[name], strict=True)), 3)
        for base in ("eager", "compile")
        if base in samples
    }


def _against_limits(work: Work, seconds: list[float], device: torch.device) -> dict[str, Any]:
    limit, middle = limits(device.type, work.dtype), median(seconds)
    floor = max(work.ideal_bytes / limit.bytes_per_second, work.ideal_flops / limit.flops_per_second)
    return {
        "ideal_bytes": work.ideal_bytes,
        "ideal_flops": work.ideal_flops,
        "bytes_per_second": work.ideal_bytes / middle,
        "flops_per_second": work.ideal_flops / middle,
        "percent_of_limit": round(100 * floor / middle, 1) if floor else None,
        "limit_bytes_per_second": limit.bytes_per_second,
        "limit_flops_per_second": limit.flops_per_second,
    }
