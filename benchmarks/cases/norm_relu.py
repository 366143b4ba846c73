"""BN and ReLU at the end of the proposed model's maps: two modules against one operation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from fastser_kernels import norm_relu
from fastser_kernels.norm_relu import reference
from fastser_kernels.norm_relu.op import ideal_bytes
from torch import Tensor

from benchmarks.case import Case, Workload, forward_and_backward
from benchmarks.compiled import COMPILED, compiled
from benchmarks.gate import check_accuracy

Shape = tuple[int, int, int, int]


def workload(device: torch.device, shape: Shape, mode: str) -> Workload:
    channels = shape[1]
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    parameters = [torch.rand(channels, device=device) + low for low in (0.5, -0.5, -0.5, 0.5)]
    weight, bias, mean, var = parameters
    learned = [parameter.requires_grad_() for parameter in (weight, bias)]

    def inputs() -> tuple[Any, ...]:
        x, cotangent = (torch.randn(shape, device=device, dtype=dtype) for _ in range(2))
        x, cotangent = (maps.contiguous(memory_format=torch.channels_last) for maps in (x, cotangent))
        return x.requires_grad_(), cotangent

    def provider(function: Callable[..., Tensor]) -> Callable[..., Any]:
        own = mean.clone(), var.clone()

        def run(x: Tensor) -> Tensor:
            return function(x, weight, bias, *own, training=True, momentum=0.1, eps=1e-5)

        if mode == "forward":
            return lambda x, _: lambda: [run(x)]
        return forward_and_backward(run, lambda x: [x, *learned])

    def exact(x: Tensor, cotangent: Tensor) -> Sequence[Tensor]:
        wide = [tensor.detach().double().requires_grad_(tensor.requires_grad) for tensor in parameters]
        leaf = x.detach().double().requires_grad_()
        maps = reference.norm_relu(leaf, *wide, training=True, momentum=0.1, eps=1e-5)
        if mode == "forward":
            return [maps]
        return [maps, *torch.autograd.grad(maps, [leaf, *wide[:2]], cotangent.double())]

    more, missing = compiled(reference.norm_relu, provider, device)
    passes = [False] if mode == "forward" else [False, True]
    return Workload(
        dtype=dtype,
        inputs=inputs,
        providers={"eager": provider(reference.norm_relu), **more, "fastser": provider(norm_relu)},
        exact=exact,
        ideal_bytes=sum(ideal_bytes(shape, dtype.itemsize, training=True, backward=b) for b in passes),
        parameters=parameters,
        missing=missing,
        gate=partial(check_accuracy, gradients_from=1),
    )


def _case(shape: Shape, mode: str, device: str) -> Case:
    providers = ("eager", *COMPILED, "fastser")
    return Case(
        f"BN and ReLU, {mode}", str(list(shape)), providers, partial(workload, shape=shape, mode=mode), (device,)
    )


CASES = [
    _case((8, 336, 64, 32), "forward", "cpu"),
    _case((8, 336, 64, 32), "forward + backward", "cpu"),
    _case((64, 336, 64, 32), "forward", "cuda"),
    _case((64, 336, 64, 32), "forward + backward", "cuda"),
]
