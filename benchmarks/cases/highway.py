"""Highway network of the proposed model: linear layers, ReLU, sigmoid and lerp against one operation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from fastser_kernels import highway
from fastser_kernels.highway import reference
from fastser_kernels.highway.op import ideal_bytes, ideal_flops
from torch import Tensor

from benchmarks.case import Case, Workload, forward_and_backward
from benchmarks.compiled import COMPILED, compiled
from benchmarks.gate import check_accuracy


def workload(device: torch.device, rows: int, units: int, layers: int) -> Workload:
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    shapes = [[units, units], [units], [units, units], [units]]
    lists = [[torch.randn(s, device=device).div_(units**0.5).requires_grad_() for _ in range(layers)] for s in shapes]
    learned = [tensor for part in lists for tensor in part]

    def inputs() -> tuple[Any, ...]:
        x, cotangent = torch.randn(2, rows, units, device=device, dtype=dtype)
        return x.requires_grad_(), cotangent

    def provider(function: Callable[..., Tensor]) -> Callable[..., Any]:
        return forward_and_backward(lambda x: function(x, *lists), lambda x: [x, *learned])

    def exact(x: Tensor, cotangent: Tensor) -> Sequence[Tensor]:
        wide = [[tensor.detach().double().requires_grad_() for tensor in part] for part in lists]
        leaf = x.detach().double().requires_grad_()
        y = reference.highway(leaf, *wide)
        return [y, *torch.autograd.grad(y, [leaf, *(t for part in wide for t in part)], cotangent.double())]

    more, missing = compiled(reference.highway, provider, device)
    return Workload(
        dtype=dtype,
        inputs=inputs,
        providers={"eager": provider(reference.highway), **more, "fastser": provider(highway)},
        exact=exact,
        ideal_bytes=sum(ideal_bytes(rows, units, layers, dtype.itemsize, backward=b) for b in (False, True)),
        ideal_flops=sum(ideal_flops(rows, units, layers, backward=b) for b in (False, True)),
        parameters=learned,
        missing=missing,
        gate=partial(check_accuracy, gradients_from=1),
    )


CASES = [
    Case(
        "highway, forward + backward",
        "[64, 128], 3 layers",
        ("eager", *COMPILED, "fastser"),
        partial(workload, rows=64, units=128, layers=3),
    )
]
