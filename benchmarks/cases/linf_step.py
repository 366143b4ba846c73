"""Step of an attack: sign, clip and clamp against one operation in place."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from fastser_kernels import linf_step
from fastser_kernels.linf_step import reference
from fastser_kernels.linf_step.op import ideal_bytes
from torch import Tensor

from benchmarks.case import Call, Case, Workload, once
from benchmarks.compiled import COMPILED, compiled

ALPHA, EPS, BOUNDS = 0.004, 0.08, (-3.0, 3.0)


def workload(device: torch.device, shape: tuple[int, ...]) -> Workload:
    def inputs() -> tuple[Any, ...]:
        clean, gradient = torch.randn(2, *shape, device=device)
        return clean + EPS * (2 * torch.rand_like(clean) - 1), clean, gradient

    def provider(function: Callable[..., Tensor]) -> Callable[..., Call]:
        return once(lambda adv, clean, gradient: function(adv, clean, gradient, ALPHA, EPS, BOUNDS))

    def fused(adv: Tensor, clean: Tensor, gradient: Tensor) -> Call:
        moved, first = adv.clone(), True

        def call() -> list[Tensor]:
            """Move the batch one step. The first result is copied for the gate, because later calls overwrite it."""
            nonlocal first
            linf_step(moved, clean, gradient, ALPHA, EPS, BOUNDS)
            result = [moved.clone()] if first else [moved]
            first = False
            return result

        return call

    more, missing = compiled(reference.linf_step, provider, device)
    count = torch.Size(shape).numel()
    return Workload(
        dtype=torch.float32,
        inputs=inputs,
        providers={"eager": provider(reference.linf_step), **more, "fastser": fused},
        exact=lambda *given: [reference.linf_step(*(t.double() for t in given), ALPHA, EPS, BOUNDS)],
        ideal_bytes=ideal_bytes(count, 4),
        missing=missing,
    )


CASES = [
    Case("L-infinity step", str(list(shape)), ("eager", *COMPILED, "fastser"), partial(workload, shape=shape), devices)
    for shape, devices in (((64, 256, 128), ("cpu", "cuda")), ((1024, 256, 128), ("cuda",)))
]
