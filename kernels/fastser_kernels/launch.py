"""Launches of Triton kernels, and the device functions that several kernels share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels import registration
from fastser_kernels.assembler import prepare_for_hopper
from fastser_kernels.chips import WITHOUT_GPU, Chip, chip_of

INTERPRETED = tl.constexpr(registration.INTERPRETED)


@triton.jit
def dot(a, b, acc, PRECISION: tl.constexpr):
    """Return `acc + a @ b` with fp32 accumulation. `a` is cast to the dtype of `b`; PRECISION matters for fp32 only.

    The interpreter multiplies bf16 bit patterns (triton issue 11584), so it gets fp32 operands.
    """
    if INTERPRETED:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc, input_precision="ieee")
    if b.dtype == tl.float32:
        return tl.dot(a.to(tl.float32), b, acc, input_precision=PRECISION)
    return tl.dot(a.to(b.dtype), b, acc)


@triton.jit
def relu(x):
    """Return max(x, 0) and keep NaN, as torch.relu does; the maximum of PTX would turn NaN into 0."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


ON_AMD = torch.version.hip is not None


def fp32_precision(on_amd: bool = ON_AMD) -> str:
    """Return the mode in which tensor cores multiply fp32 operands with fp32 accuracy.

    NVIDIA needs three tf32 products, AMD multiplies fp32 natively.
    """
    return "ieee" if on_amd else "tf32x3"


def launch_options(
    num_warps: int, num_stages: int, chip: Chip = WITHOUT_GPU, chained_products: int = 1
) -> dict[str, int]:
    """Return the launch options for a chip, given those for NVIDIA's warps of 32 threads.

    AMD's data-center chips run the same number of threads in wavefronts of 64. Its other chips have wavefronts of 32,
    whose threads have half as many registers, so they run twice the threads. Both have less shared memory for a
    pipeline. Triton pipelines a loop with chained products wrongly where accumulators are in tensor memory (triton
    issue 10821).

    Args:
        num_warps: Warps of 32 threads per program.
        num_stages: Depth of the software pipeline.
        chip: The chip.
        chained_products: Number of products that an iteration of a loop adds to one accumulator.
    """
    if chip.on_amd:
        num_warps = max(num_warps // 2, 1) if chip.warp_size == 64 else num_warps * 2
        num_stages = min(num_stages, 2)
    elif chip.tensor_memory and chained_products > 1:
        num_stages = 1
    return {"num_warps": num_warps, "num_stages": num_stages}


@dataclass(frozen=True)
class Launch:
    """One launch: kernel, grid, arguments by name (tensors on any device), and configuration."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    num_warps: int
    num_stages: int
    chained_products: int


_executor: Callable[[Launch], None] | None = None


@contextmanager
def _replaced(executor: Callable[[Launch], None]) -> Iterator[None]:
    global _executor
    outer, _executor = _executor, executor
    try:
        yield
    finally:
        _executor = outer


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """List the launches inside the block instead of running them; launchers then also take meta tensors."""
    record: list[Launch] = []
    with _replaced(record.append):
        yield record


@contextmanager
def launched_by(executor: Callable[[Launch], None]) -> Iterator[None]:
    """Pass every launch inside the block to `executor` instead of a GPU; operations on CPU tensors then launch too."""
    with registration.cpu_tensors_launched(), _replaced(executor):
        yield


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    /,
    *,
    num_warps: int = 4,
    num_stages: int = 2,
    chained_products: int = 1,
    **arguments: Any,
) -> None:
    """Run a kernel on the device of its first tensor; an empty grid runs nothing.

    Args:
        kernel: The function that `triton.jit` made.
        grid: Number of programs along each axis.
        num_warps: Warps of 32 threads per program, on NVIDIA.
        num_stages: Depth of the software pipeline, on NVIDIA.
        chained_products: Number of products that an iteration of a loop adds to one accumulator.
        **arguments: Every argument of the kernel by its name: tensors, numbers and constants.

    Raises:
        TypeError: If an argument of the kernel is missing, or the kernel has no argument of that name.
    """
    if arguments.keys() != set(kernel.arg_names):
        _refuse(kernel, arguments)
    if 0 in grid:
        return
    if _executor is not None:
        in_order = {name: arguments[name] for name in kernel.arg_names}
        _executor(Launch(kernel, grid, in_order, num_warps, num_stages, chained_products))
        return
    first = next(value for value in arguments.values() if isinstance(value, Tensor))
    chip = chip_of(first.device)
    with torch.cuda.device_of(first):
        if chip.architecture == "sm_90":
            num_warps = prepare_for_hopper(kernel, num_warps)
        kernel[grid](**arguments, **launch_options(num_warps, num_stages, chip, chained_products))


def _refuse(kernel: Any, arguments: dict[str, Any]) -> None:
    missing = [name for name in kernel.arg_names if name not in arguments]
    unknown = [name for name in arguments if name not in kernel.arg_names]
    wrong = [
        f"argument {', '.join(names)} is {how}" for how, names in (("missing", missing), ("unknown", unknown)) if names
    ]
    raise TypeError(f"launch of {kernel.fn.__name__}: {' and '.join(wrong)}; pass {', '.join(kernel.arg_names)}")
