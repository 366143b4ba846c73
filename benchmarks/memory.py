"""Peak memory and kernel launches of a call, and tensors that a forward pass saves for the backward pass."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.case import Call


def peak_bytes(call: Call, device: torch.device) -> int:
    """Return the largest number of bytes that a call holds at one time."""
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
    """Return the number of GPU kernels that a call launches, or None on a CPU."""
    if device.type != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        call()
        torch.cuda.synchronize()
    return sum(event.count for event in trace.key_averages() if not event.key.startswith("Mem"))


def saved_for_backward(forward: Callable[[], object], parameters: Sequence[Tensor]) -> int:
    """Return the bytes of the distinct storages that autograd saves in a forward pass, without those of parameters."""
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
