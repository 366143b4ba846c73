"""Transitions of the proposed model: batch norm, ReLU, pooling and 1x1 convolution against one operation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from fastser_kernels import transition
from fastser_kernels.transition import reference
from fastser_kernels.transition.op import ideal_bytes, ideal_flops
from torch import Tensor

from benchmarks.case import Case, Workload, forward_and_backward
from benchmarks.compiled import COMPILED, compiled
from benchmarks.gate import check_accuracy

Shape = tuple[int, int, int, int]
LEARNED = (0, 1, 4)
"""Indices of the learned parameters. The other two are running statistics."""


def workload(device: torch.device, shape: Shape, mode: str) -> Workload:
    n, channels, t, f = shape
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    weight, bias, mean, var = (torch.rand(channels, device=device) + low for low in (0.5, -0.5, -0.5, 0.5))
    kernel = torch.randn(channels, channels, 1, 1, device=device).div_(channels**0.5)
    parameters = [weight, bias, mean, var, kernel]
    for place in LEARNED:
        parameters[place].requires_grad_()

    def inputs() -> tuple[Any, ...]:
        x = torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
        cotangent = torch.randn(n, channels, t // 2, f // 2, device=device, dtype=dtype)
        return x.requires_grad_(), cotangent.contiguous(memory_format=torch.channels_last)

    def provider(function: Callable[..., Tensor]) -> Callable[..., Any]:
        own = mean.clone(), var.clone()

        def run(x: Tensor) -> Tensor:
            return function(x, weight, bias, *own, kernel, training=True, momentum=0.1, eps=1e-5)

        if mode == "forward":
            return lambda x, _: lambda: [run(x)]
        return forward_and_backward(run, lambda x: [x, weight, bias, kernel])

    def exact(x: Tensor, cotangent: Tensor) -> Sequence[Tensor]:
        wide = [tensor.detach().double().requires_grad_(tensor.requires_grad) for tensor in parameters]
        leaf = x.detach().double().requires_grad_()
        maps = reference.transition(leaf, *wide, training=True, momentum=0.1, eps=1e-5)
        if mode == "forward":
            return [maps]
        return [maps, *torch.autograd.grad(maps, [leaf, *(wide[place] for place in LEARNED)], cotangent.double())]

    more, missing = compiled(reference.transition, provider, device)
    passes = [False] if mode == "forward" else [False, True]
    return Workload(
        dtype=dtype,
        inputs=inputs,
        providers={"eager": provider(reference.transition), **more, "fastser": provider(transition)},
        exact=exact,
        ideal_bytes=sum(ideal_bytes(shape, dtype.itemsize, training=True, backward=b) for b in passes),
        ideal_flops=sum(ideal_flops(shape, channels, backward=b) for b in passes),
        parameters=parameters,
        missing=missing,
        gate=partial(check_accuracy, gradients_from=1),
    )


def _case(shape: Shape, mode: str, device: str) -> Case:
    providers = ("eager", *COMPILED, "fastser")
    return Case(
        f"transition, {mode}", str(list(shape)), providers, partial(workload, shape=shape, mode=mode), (device,)
    )


CASES = [
    _case((8, 192, 128, 64), "forward", "cpu"),
    _case((8, 192, 128, 64), "forward + backward", "cpu"),
    _case((64, 192, 128, 64), "forward", "cuda"),
    _case((64, 192, 128, 64), "forward + backward", "cuda"),
]
