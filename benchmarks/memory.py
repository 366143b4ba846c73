"""Memory of a call, and what a forward pass keeps for the backward pass."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.work import Call


def peak_bytes(call: Call, device: torch.device) -> int:
    """Largest sum of what a call has allocated and not yet freed."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        call()
    allocated = peak = 0
    for event in trace.profiler.kineto_results.events():
        if event.name() == "[memory]":
            allocated += event.nbytes()
            peak = max(peak, allocated)
    return peak


def kernel_launches(call: Call, device: torch.device) -> int | None:
    """GPU kernels that a call launches; None on a CPU, where nothing is launched."""
    if device.type != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        call()
        torch.cuda.synchronize()
    return sum(event.count for event in trace.key_averages() if not event.key.startswith("Mem"))


def saved_for_backward(forward: Callable[[], object], parameters: Sequence[Tensor]) -> int:
    """Bytes of the different storages that autograd keeps from a forward pass, parameters not counted."""
    known = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = forward()
    del kept
    return sum(saved.values())
