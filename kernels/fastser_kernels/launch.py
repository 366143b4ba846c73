"""Launching Triton kernels, and the device functions that several of them share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels import registration

INTERPRETED = tl.constexpr(registration.INTERPRETED)


@triton.jit
def dot(a, b, acc, PRECISION: tl.constexpr):
    """`acc + a @ b` with fp32 accumulation; a takes b's dtype. PRECISION is used for fp32 operands only.

    The interpreter multiplies bf16 bit patterns (triton issue 11584), so it gets fp32 operands.
    """
    if INTERPRETED:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc, input_precision="ieee")
    if b.dtype == tl.float32:
        return tl.dot(a.to(tl.float32), b, acc, input_precision=PRECISION)
    return tl.dot(a.to(b.dtype), b, acc)


@triton.jit
def relu(x):
    """As torch.relu: what is not a number stays so, where PTX's maximum would make it 0."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


ON_AMD = torch.version.hip is not None


def fp32_precision(on_amd: bool = ON_AMD) -> str:
    """How tensor cores multiply fp32 operands with fp32 accuracy: three tf32 products (NVIDIA), natively (AMD)."""
    return "ieee" if on_amd else "tf32x3"


def launch_options(num_warps: int, num_stages: int, on_amd: bool = ON_AMD) -> dict[str, int]:
    """A configuration, given for NVIDIA's warps of 32 threads, as this GPU needs it: AMD's have 64, and less memory."""
    if on_amd:
        return {"num_warps": max(num_warps // 2, 1), "num_stages": min(num_stages, 2)}
    return {"num_warps": num_warps, "num_stages": num_stages}


@dataclass(frozen=True)
class Launch:
    """One recorded launch: the kernel, its arguments by name (tensors on any device), and its configuration."""

    kernel: Any
    arguments: dict[str, Any]
    num_warps: int
    num_stages: int


_record: list[Launch] | None = None


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """List the launches inside instead of running them; launchers may then be called with meta tensors."""
    global _record
    _record = []
    try:
        yield _record
    finally:
        _record = None


def launch(
    kernel: Any, grid: tuple[int, ...], *args: Any, num_warps: int = 4, num_stages: int = 2, **constexprs: Any
) -> None:
    """Run `kernel[grid](*args, **constexprs)` on the device of the first tensor; an empty grid runs nothing."""
    if 0 in grid:
        return
    if _record is not None:
        arguments = dict(zip(kernel.arg_names, args, strict=False)) | constexprs
        _record.append(Launch(kernel, arguments, num_warps, num_stages))
        return
    first = next(value for value in args if isinstance(value, Tensor))
    with torch.cuda.device_of(first):
        kernel[grid](*args, **launch_options(num_warps, num_stages), **constexprs)
