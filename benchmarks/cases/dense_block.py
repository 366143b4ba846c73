"""Dense blocks of the proposed model: batch norm, ReLU, convolution and concatenation against one operation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from fastser_kernels import dense_block
from fastser_kernels.dense_block import reference
from fastser_kernels.dense_block.op import ideal_bytes, ideal_flops
from torch import Tensor

from benchmarks.case import Case, Workload, backward, forward_and_backward
from benchmarks.compiled import COMPILED, compiled
from benchmarks.gate import check_accuracy

Shape = tuple[int, int, int, int]
PARAMETERS = (0, 1, 4)
"""Indices of the learned lists (scales, shifts and kernels). The other two are running statistics."""


def _lists(channels: int, growth_rate: int, layers: int, device: torch.device) -> list[list[Tensor]]:
    """Draw bn_weight, bn_bias, running_mean, running_var and conv_weight as after some training."""
    sizes = [channels + i * growth_rate for i in range(layers)]
    weight, bias, mean, var = ([torch.rand(c, device=device) + low for c in sizes] for low in (0.5, -0.5, -0.5, 0.5))
    kernels = [torch.randn(growth_rate, c, 3, 3, device=device).div_((9 * c) ** 0.5) for c in sizes]
    return [weight, bias, mean, var, [k.contiguous(memory_format=torch.channels_last) for k in kernels]]


def workload(
    device: torch.device, shape: Shape, growth_rate: int, layers: int, mode: str, dtype: torch.dtype | None = None
) -> Workload:
    n, channels, t, f = shape
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    lists = _lists(channels, growth_rate, layers, device)
    training = mode != "input gradient"
    for place in PARAMETERS:
        for tensor in lists[place]:
            tensor.requires_grad_(training)

    def inputs() -> tuple[Any, ...]:
        """Draw maps, and a positive gradient of the result, whose sums over pixels do not cancel."""
        x, cotangent = (
            draw(n, c, t, f, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
            for draw, c in ((torch.randn, channels), (torch.rand, channels + layers * growth_rate))
        )
        return (x.requires_grad_(), cotangent)

    def with_own_statistics(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the block with running statistics of its own, which no other provider changes."""
        own = [[tensor.clone() for tensor in part] for part in lists[2:4]]
        return lambda x: function(x, *lists[:2], *own, lists[4], training=training, momentum=0.1, eps=1e-5)

    def leaves(x: Tensor) -> Sequence[Tensor]:
        return [x, *(tensor for place in PARAMETERS if training for tensor in lists[place])]

    def provider(function: Callable[..., Tensor]) -> Callable[..., Any]:
        block = with_own_statistics(function)
        if mode == "forward":
            return lambda x, _: lambda: [block(x)]
        return (backward if mode == "backward" else forward_and_backward)(block, leaves)

    def exact(x: Tensor, cotangent: Tensor) -> Sequence[Tensor]:
        wide = [[tensor.detach().double().requires_grad_(tensor.requires_grad) for tensor in part] for part in lists]
        leaf = x.detach().double().requires_grad_()
        maps = reference.dense_block(leaf, *wide, training=training, momentum=0.1, eps=1e-5)
        if mode == "forward":
            return [maps]
        learned = [tensor for place in PARAMETERS if training for tensor in wide[place]]
        gradients = torch.autograd.grad(maps, [leaf, *learned], cotangent.double())
        return gradients if mode == "backward" else [maps, *gradients]

    forward_bytes, backward_bytes = ideal_bytes(n * t * f, channels, growth_rate, layers, dtype.itemsize)
    forward_flops, backward_flops = ideal_flops(n * t * f, channels, growth_rate, layers)
    weights = {"forward": (1, 0), "backward": (0, 1), "forward + backward": (1, 1), "input gradient": (1, 0.5)}[mode]
    more, missing = compiled(reference.dense_block, provider, device)
    if device.type == "cpu" and dtype == torch.bfloat16:
        more = _other_precisions(provider) | more
    blocks = {name: with_own_statistics(f) for name, f in (("eager", reference.dense_block), ("fastser", dense_block))}
    return Workload(
        dtype=dtype,
        inputs=inputs,
        providers={"eager": provider(reference.dense_block), **more, "fastser": provider(dense_block)},
        exact=exact,
        ideal_bytes=int(weights[0] * forward_bytes + (weights[1] and backward_bytes)),
        ideal_flops=int(weights[0] * forward_flops + weights[1] * backward_flops),
        forward={name: lambda x, _, block=block: block(x) for name, block in blocks.items()},
        parameters=[tensor for part in lists for tensor in part],
        missing=missing,
        gate=partial(check_accuracy, gradients_from={"forward": None, "backward": 0}.get(mode, 1)),
    )


def _other_precisions(provider: Callable[..., Any]) -> dict[str, Any]:
    """Return eager PyTorch on float32 maps, and under autocast, for a case with bfloat16 maps."""

    def in_float32(x: Tensor, *lists: Any, **settings: Any) -> Tensor:
        return reference.dense_block(x.float(), *lists, **settings).to(x.dtype)

    def under_autocast(x: Tensor, *lists: Any, **settings: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return reference.dense_block(x, *lists, **settings)

    return {"eager float32": provider(in_float32), "eager autocast": provider(under_autocast)}


def _cases(
    shape: Shape,
    growth_rate: int,
    layers: int,
    modes: Sequence[str],
    devices: tuple[str, ...],
    dtype: torch.dtype | None = None,
) -> list[Case]:
    text = f"{list(shape)}, G {growth_rate}, L {layers}{', bfloat16' if dtype else ''}"
    others = ("eager float32", "eager autocast") if dtype else ()
    return [
        Case(
            f"dense block, {mode}",
            text,
            ("eager", *others, *COMPILED, "fastser"),
            partial(workload, shape=shape, growth_rate=growth_rate, layers=layers, mode=mode, dtype=dtype),
            devices,
        )
        for mode in modes
    ]


MODES = ("forward", "backward", "forward + backward", "input gradient")
CASES = [
    *_cases((8, 48, 64, 128), 24, 6, MODES, ("cpu",)),
    *_cases((8, 48, 64, 128), 24, 6, ("forward", "forward + backward", "input gradient"), ("cpu",), torch.bfloat16),
    *_cases((8, 192, 64, 32), 24, 6, ("forward + backward",), ("cpu",)),
    *_cases((16, 16, 32, 16), 8, 3, ("forward + backward",), ("cpu",)),
    *_cases((64, 48, 128, 64), 24, 6, MODES, ("cuda",)),
    *_cases((64, 192, 64, 32), 24, 6, ("forward + backward",), ("cuda",)),
    *_cases((16, 48, 128, 64), 24, 6, ("forward + backward",), ("cuda",)),
]
