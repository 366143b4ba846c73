"""Types of a benchmark case: one operation at one shape, and the providers that compute it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks.gate import check_accuracy

Call = Callable[[], Sequence[Tensor]]
"""Timed call, which returns its results."""

Gate = Callable[[str, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], None]
"""Function that raises WrongResultError if the results of a provider are wrong.

It takes the provider's name, its results, the results of eager PyTorch and the results in float64.
"""


@dataclass(frozen=True)
class Workload:
    """A case built on one device.

    Attributes:
        dtype: Dtype of the maps, batches or waveforms.
        inputs: Makes a new set of inputs.
        providers: By name ("eager", "compile", "fastser" or a library), a function that takes a set of inputs, does the
            untimed preparation and returns the timed call. "eager" is the first.
        exact: Takes a set of inputs and returns the results in float64.
        ideal_bytes: Bytes that the operation must move, from `ideal_bytes` beside the kernel. 0 if there is none.
        ideal_flops: FLOPs that the operation must do, from `ideal_flops` beside the kernel. 0 if there is none.
        forward: By provider, the part of the call whose saved tensors are counted. It takes a set of inputs.
        parameters: Tensors that do not count as saved.
        missing: By provider, the reason why it cannot run here.
        gate: Comparison of the results.
        capturable: Whether the calls can be captured in a CUDA graph.
    """

    dtype: torch.dtype
    inputs: Callable[[], tuple[Any, ...]]
    providers: dict[str, Callable[..., Call]]
    exact: Callable[..., Sequence[Tensor]]
    ideal_bytes: int = 0
    ideal_flops: int = 0
    forward: dict[str, Callable[..., object]] = field(default_factory=dict)
    parameters: Sequence[Tensor] = ()
    missing: dict[str, str] = field(default_factory=dict)
    gate: Gate = check_accuracy
    capturable: bool = True


@dataclass(frozen=True)
class Case:
    """An operation at one shape: one table row per provider.

    Attributes:
        group: Operation and pass, "dense block, forward".
        shape: Shape, as a page prints it.
        providers: Names of all providers that the case has on any machine.
        build: Builds the workload on a device. It may take long.
        devices: Types of the devices on which this shape is measured.
    """

    group: str
    shape: str
    providers: tuple[str, ...]
    build: Callable[[torch.device], Workload]
    devices: tuple[str, ...] = ("cpu", "cuda")


def once(function: Callable[..., Tensor]) -> Callable[..., Call]:
    """Return a provider that calls `function` on its inputs."""
    return lambda *inputs: lambda: [function(*inputs)]


def forward_and_backward(
    function: Callable[..., Tensor], leaves: Callable[..., Sequence[Tensor]]
) -> Callable[..., Call]:
    """Return a provider whose call does a forward and a backward pass.

    Args:
        function: Differentiable function of all inputs but the last, which is the gradient of its result.
        leaves: Takes the same inputs and returns the tensors whose gradients are computed.
    """

    def prepare(*inputs: Any) -> Call:
        *arguments, cotangent = inputs

        def call() -> Sequence[Tensor]:
            result = function(*arguments)
            return [result.detach(), *torch.autograd.grad(result, leaves(*arguments), cotangent)]

        return call

    return prepare


def backward(function: Callable[..., Tensor], leaves: Callable[..., Sequence[Tensor]]) -> Callable[..., Call]:
    """Return a provider whose call does a backward pass. The forward pass is not timed.

    Args:
        function: As in `forward_and_backward`.
        leaves: As in `forward_and_backward`.
    """

    def prepare(*inputs: Any) -> Call:
        *arguments, cotangent = inputs
        result = function(*arguments)
        return lambda: torch.autograd.grad(result, leaves(*arguments), cotangent, retain_graph=True)

    return prepare
