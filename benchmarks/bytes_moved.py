"""Bytes per pixel that a dense block moves: eager PyTorch, torch.compile and fastser's kernels, counted without a GPU.

`TRITON_INTERPRET=1 python -m benchmarks.bytes_moved` prints them as JSON. The counts are:

- eager: inputs and results of every ATen operation, and the second passes of batch normalisation and convolution;
- compile: Inductor's own count for its kernels;
- fastser: every address that a kernel reads or writes in Triton's interpreter, once per launch, and the ATen operations
  of the launchers. This is the traffic to memory if the cache serves each launch ideally.

Each count is made for maps of two sizes and divided by the difference in pixels, so that parameters drop out.
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import triton.runtime.interpreter as interpreter
from fastser_kernels.chips import WITHOUT_GPU, assumed
from fastser_kernels.dense_block import backward_kernels, forward_kernels, reference
from torch import Tensor
from torch._inductor.graph import GraphLowering
from torch._inductor.virtualized import V
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from benchmarks.predicted.aten import moved_bytes

CHANNELS, GROWTH_RATE, LAYERS = 48, 24, 6
SMALL, LARGE = (1, CHANNELS, 8, 16), (1, CHANNELS, 16, 16)
DTYPE = torch.float16  # the interpreter cannot store bfloat16, which has as many bytes

Bytes = tuple[float, float]
"""Bytes of the forward and of the backward pass."""


class AtenBytes(TorchDispatchMode):
    """Counter of the bytes of inputs and results of ATen operations."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.total += moved_bytes(func, args, kwargs, result)
        return result


@contextmanager
def kernel_bytes() -> Iterator[list[int]]:
    """Count the bytes that interpreted kernels touch. The one item of the list grows with each launch."""
    total, touched = [0], {"read": [], "written": []}  # type: ignore[var-annotated]
    builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
    load, store, run = builder.create_masked_load, builder.create_masked_store, executor.__call__

    def counted_load(self: Any, ptrs: Any, mask: Any, *rest: Any) -> Any:
        value = load(self, ptrs, mask, *rest)
        touched["read"].append((ptrs.data[mask.data], value.data.itemsize))
        return value

    def counted_store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
        touched["written"].append((ptrs.data[mask.data], value.data.itemsize))
        return store(self, ptrs, value, mask, *rest)

    def counted_run(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes():
            result = run(self, *args, **kwargs)
        for accesses in touched.values():
            for size in {size for _, size in accesses}:
                addresses = [where.ravel() for where, itemsize in accesses if itemsize == size]
                total[0] += size * len(np.unique(np.concatenate(addresses)))
            accesses.clear()
        return result

    builder.create_masked_load, builder.create_masked_store, executor.__call__ = (
        counted_load,
        counted_store,
        counted_run,
    )
    try:
        yield total
    finally:
        builder.create_masked_load, builder.create_masked_store, executor.__call__ = load, store, run


def _parameters() -> list[list[Tensor]]:
    """Return bn_weight, bn_bias, running_mean, running_var and conv_weight."""
    sizes = [CHANNELS + i * GROWTH_RATE for i in range(LAYERS)]
    ones, zeros = ([make(c) for c in sizes] for make in (torch.ones, torch.zeros))
    kernels = [torch.randn(GROWTH_RATE, c, 3, 3).div_(9 * c).to(DTYPE) for c in sizes]
    kernels = [kernel.contiguous(memory_format=torch.channels_last) for kernel in kernels]
    return [ones, zeros, [torch.zeros(c) for c in sizes], [torch.ones(c) for c in sizes], kernels]


def _maps(shape: tuple[int, ...], channels: int) -> Tensor:
    n, _, t, f = shape
    return torch.randn(n, channels, t, f, dtype=DTYPE).contiguous(memory_format=torch.channels_last)


def _per_pixel(count: Callable[[tuple[int, ...]], Bytes]) -> Bytes:
    small, large = count(SMALL), count(LARGE)
    pixels = math.prod(LARGE) // CHANNELS - math.prod(SMALL) // CHANNELS
    return (large[0] - small[0]) / pixels, (large[1] - small[1]) / pixels


def eager(shape: tuple[int, ...]) -> Bytes:
    """Count the bytes of the eager reference in training."""
    lists = _parameters()
    learned = [tensor.requires_grad_() for place in (0, 1, 4) for tensor in lists[place]]
    n = LAYERS
    x = _maps(shape, CHANNELS).requires_grad_()
    with AtenBytes() as forward:
        result = reference.dense_block(
            x,
            learned[:n],
            learned[n : 2 * n],
            lists[2],
            lists[3],
            learned[2 * n :],
            training=True,
            momentum=0.1,
            eps=1e-5,
        )
    cotangent = torch.randn_like(result)
    with AtenBytes() as backward:
        result.backward(cotangent)
    return forward.total, backward.total


def compiled(shape: tuple[int, ...]) -> Bytes:
    """Return the bytes that Inductor counts for its kernels in training."""
    counts: list[int] = []
    lower = GraphLowering.compile_to_module

    def counting(self: GraphLowering, *args: Any, **kwargs: Any) -> Any:
        module = lower(self, *args, **kwargs)
        with V.set_graph_handler(self):
            counts.append(self.count_bytes()[0])
        return module

    lists = _parameters()
    learned = [[tensor.requires_grad_() for tensor in lists[place]] for place in (0, 1, 4)]
    x = _maps(shape, CHANNELS).requires_grad_()
    GraphLowering.compile_to_module = counting  # type: ignore[method-assign]
    torch._dynamo.reset()
    try:
        block = torch.compile(reference.dense_block, fullgraph=True, dynamic=False)
        with (
            torch._inductor.config.patch(fx_graph_cache=False),
            torch._functorch.config.patch(enable_autograd_cache=False),
        ):
            result = block(x, *learned[:2], *lists[2:4], learned[2], training=True, momentum=0.1, eps=1e-5)
            result.backward(torch.randn_like(result))
    finally:
        GraphLowering.compile_to_module = lower  # type: ignore[method-assign]
    forward, backward = counts
    return forward, backward


def fused(shape: tuple[int, ...], *, training: bool = True) -> Bytes:
    """Count the bytes of fastser's kernels. In eval mode the backward pass is that of an attack: to the input only."""
    lists = _parameters()
    x = _maps(shape, CHANNELS)
    with assumed(replace(WITHOUT_GPU, multiprocessors=1)):  # the number of partial sums must not depend on the pixels
        with kernel_bytes() as forward, AtenBytes() as around_forward:
            maps, mean, var = forward_kernels.forward(x, *lists, training, 1e-5)
        cotangent = torch.randn_like(maps)
        with kernel_bytes() as backward, AtenBytes() as around_backward:
            backward_kernels.backward(cotangent, maps, mean, var, *lists, training, 1e-5, not training)
    return forward[0] + around_forward.total, backward[0] + around_backward.total


if __name__ == "__main__":
    torch.manual_seed(0)
    providers = {"eager": eager, "compile": compiled, "fastser": fused}
    passes = "forward", "backward"
    counted = {name: dict(zip(passes, _per_pixel(count), strict=True)) for name, count in providers.items()}
    counted["fastser"]["input gradient"] = _per_pixel(lambda shape: fused(shape, training=False))[1]
    print(json.dumps(counted, indent=1))
