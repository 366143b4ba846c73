"""Comparable times: all providers of a case take turns, round by round, in one process.

On a CPU a round is one call of each provider, in rotating order. A short call is made twice, and the second one is
timed. On a GPU a round is one replay of a CUDA graph, timed by events. The graph calls the provider once for each of
several sets of inputs, which together exceed three times the L2 cache. No setting of the machine is changed.
"""

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.case import Call

SECONDS_PER_CASE = 1.0
MIN_ROUNDS, MAX_ROUNDS = 7, 100
SHORT_SECONDS = 0.05
L2_MULTIPLE = 3
MAX_SETS = 64


def first_call(prepare: Callable[..., Call], inputs: tuple[Any, ...]) -> tuple[Call, Any, float]:
    """Prepare a provider on its inputs and call it once.

    Returns:
        The call, its results, and the seconds of preparation and call, including compilation.
    """
    began = time.perf_counter()
    call = prepare(*inputs)
    results = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return call, results, time.perf_counter() - began


def interleaved(runs: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Call all runs in turn, in rotating order, for about SECONDS_PER_CASE.

    Args:
        runs: By provider, a function that does one round and returns its seconds.

    Returns:
        Seconds of each round by provider.
    """
    round_seconds = sum(run() for run in runs.values())
    rounds = min(max(int(SECONDS_PER_CASE / max(round_seconds, 1e-9)), MIN_ROUNDS), MAX_ROUNDS)
    names = list(runs)
    samples: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                samples[name].append(runs[name]())
    finally:
        gc.enable()
    return samples


def on_cpu(call: Call) -> Callable[[], float]:
    """Return a run that times one call.

    A short call is made once before, so that it does not pay for memory that another provider returned to the system.
    """
    last = 0.0

    def run() -> float:
        nonlocal last
        if last < SHORT_SECONDS:
            call()
        began = time.perf_counter()
        call()
        last = time.perf_counter() - began
        return last

    return run


def on_gpu(prepare: Callable[..., Call], inputs: Callable[[], tuple[Any, ...]]) -> Callable[[], float]:
    """Return a run that replays a CUDA graph with a call on each of several sets of inputs: mean seconds of a call."""
    first = inputs()
    l2 = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    size = sum(t.numel() * t.element_size() for t in first if isinstance(t, torch.Tensor))
    sets = [first, *(inputs() for _ in range(min(L2_MULTIPLE * l2 // max(size, 1), MAX_SETS - 1)))]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        calls = [prepare(*one) for one in sets]
        for call in calls:
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        for call in calls:
            call()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def run() -> float:
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / len(calls)

    return run


def on_gpu_without_graph(call: Call) -> Callable[[], float]:
    """Return a run that times one call between two events, for calls that cannot be captured."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def run() -> float:
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000

    return run
