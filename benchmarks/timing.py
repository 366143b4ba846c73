"""Times that can be compared: all providers of a case in turn, round by round, in one process.

On a CPU a round is one call of each provider, in an order that rotates; a short call is made twice, the second timed.
On a GPU a round is one replay of a CUDA graph that calls the provider once for each of several sets of inputs, which
together exceed three times the L2 cache; events time the replay. Clocks and all other settings of the machine are left
alone.
"""

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.work import Call

SECONDS_PER_CASE = 1.0
MIN_ROUNDS, MAX_ROUNDS = 7, 100
SHORT_SECONDS = 0.05
L2_MULTIPLE = 3
MAX_SETS = 64


def first_call(prepare: Callable[..., Call], inputs: tuple[Any, ...]) -> tuple[Call, Any, float]:
    """Prepare a provider on its inputs and call it once.

    Returns:
        The call; its results; the seconds that both took, compilation included.
    """
    began = time.perf_counter()
    call = prepare(*inputs)
    results = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return call, results, time.perf_counter() - began


def interleaved(runs: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Call every run in turn, in a rotating order, until the time is up.

    Args:
        runs: By provider: does one round and returns its seconds.

    Returns:
        By provider the seconds of each round.
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
    """One call, timed; a short one is made once before, so as not to pay for memory that its neighbour gave back."""
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
    """One call on each of several sets of inputs, captured in a CUDA graph; the mean seconds of a call."""
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
    """One call between two events, where it cannot be captured."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def run() -> float:
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000

    return run
