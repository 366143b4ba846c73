"""What a benchmark case is: one operation at one shape, and everybody who can compute it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks.gate import check_accuracy

Call = Callable[[], Sequence[Tensor]]
"""What is timed; returns its results."""

Gate = Callable[[str, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], None]
"""Raises WrongResultError for a provider's results, given those of eager PyTorch and those in float64."""


@dataclass(frozen=True)
class Work:
    """A case on one device.

    Attributes:
        dtype: Of the maps, batches or waveforms.
        inputs: Makes a new set of inputs.
        providers: By name ("eager", "compile", "fastser", a library): takes a set of inputs, does what is not timed,
            and returns the call that is.
        exact: Takes a set of inputs and returns the results in float64.
        ideal_bytes: Bytes that the operation must move, from the function beside the kernel; 0 where there is none.
        ideal_flops: Floating-point operations that it must do, likewise.
        forward: By provider the part of the call whose saved tensors are counted; takes a set of inputs.
        parameters: Tensors that do not count as saved.
        missing: Providers that cannot run here, with the reason.
        gate: How results are compared.
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
    """One row of the table for every provider.

    Attributes:
        group: Operation and pass: "dense block, forward".
        shape: As a reader would write it.
        providers: Names of all that the case knows, on any machine.
        build: Makes the work on a device; may take long.
        devices: Types of device on which this shape is measured.
    """

    group: str
    shape: str
    providers: tuple[str, ...]
    build: Callable[[torch.device], Work]
    devices: tuple[str, ...] = ("cpu", "cuda")


def once(function: Callable[..., Tensor]) -> Callable[..., Call]:
    """A provider that calls `function` on its inputs."""
    return lambda *inputs: lambda: [function(*inputs)]


def forward_and_backward(
    function: Callable[..., Tensor], leaves: Callable[..., Sequence[Tensor]]
) -> Callable[..., Call]:
    """A provider that calls `function` on its inputs but the last, which is the gradient of the result.

    Args:
        function: Differentiable.
        leaves: Picks, from the same inputs, what the gradient is taken to.
    """

    def prepare(*inputs: Any) -> Call:
        *arguments, cotangent = inputs

        def call() -> Sequence[Tensor]:
            result = function(*arguments)
            return [result.detach(), *torch.autograd.grad(result, leaves(*arguments), cotangent)]

        return call

    return prepare


def backward(function: Callable[..., Tensor], leaves: Callable[..., Sequence[Tensor]]) -> Callable[..., Call]:
    """The same without the forward pass, which is not timed."""

    def prepare(*inputs: Any) -> Call:
        *arguments, cotangent = inputs
        result = function(*arguments)
        return lambda: torch.autograd.grad(result, leaves(*arguments), cotangent, retain_graph=True)

    return prepare
