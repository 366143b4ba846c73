"""Self-test of one family in one dtype: results and gradients against float64, and times against the reference.

A result may differ from the reference in float64 by twice the error of the reference in the tested dtype, plus a few
roundings.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fastser_kernels.choice import use_kernels
from fastser_kernels.trust.calls import ODD, SMALL, Call, Draw, Size
from fastser_kernels.trust.verdict import MARGIN, Verdict

FAMILIES = tuple(sorted(path.parent.name for path in Path(__file__).parents[1].glob("*/op.py")))
"""Names of all families of operations."""

ROUNDINGS = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 2e-3}
"""Relative error in the Euclidean norm that is always allowed.

It is about half a unit in the last place for 16-bit types, and leaves room for sums in float32 and float64.
"""

ROUND_BUDGET_S = 0.1
"""Time after which no further round of a measurement begins."""

LEAST_ROUNDS, MOST_ROUNDS = 3, 25

MEASUREMENTS = 4
"""Measurements that a kernel must lose, one after another, before the reference computes."""

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
"""Parts of the messages by which PyTorch says that memory is full."""


def self_test(
    family: str, dtype: torch.dtype, device: torch.device, size: Size, *, compile_reference: bool = False
) -> Verdict | None:
    """Run the kernels of a family at a small, an odd and a real size.

    The test has a thread of its own. Tracing, function transforms, autocast and gradient modes belong to threads, so
    those of the caller do not reach it.

    Args:
        family: Name of a family.
        dtype: Dtype that is about to be used.
        device: Device of the kernels.
        size: The real size.
        compile_reference: Time the reference under torch.compile too.

    Returns:
        The verdict, or None if there is none, because memory was full or the reference failed.
    """
    if device == torch.device("cuda"):  # the current one of the caller
        device = torch.device("cuda", torch.cuda.current_device())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_self_test, family, dtype, device, size, compile_reference).result()


def _self_test(
    family: str, dtype: torch.dtype, device: torch.device, size: Size, compile_reference: bool
) -> Verdict | None:
    verdict = Verdict(family, str(dtype).removeprefix("torch."), str(size))
    calls = importlib.import_module(f"fastser_kernels.{family}.self_test").calls
    if device.type == "cuda":
        torch.cuda.set_device(device)  # of this thread
    try:
        for name, tested in {"small": SMALL, "odd": ODD}.items():
            for call in calls(tested, Draw(dtype, device)):
                if fault := _fault(call, dtype):
                    return replace(verdict, fault=f"its self-test fails at the {name} size, {call.name}: {fault}")
        real = next(iter(calls(size, Draw(dtype, device))))
        if fault := _fault(real, dtype):
            return replace(verdict, fault=f"its self-test fails at the real size, {real.name}: {fault}")
        return _timed(verdict, real, compile_reference)
    except Exception:  # full memory, or a reference that fails: neither says anything about the kernel
        return None


class _KernelError(Exception):
    """Exception of a kernel, as one sentence."""


def _fault(call: Call, dtype: torch.dtype) -> str:
    """Return what is wrong with the kernel's results, or ""."""
    with use_kernels("reference"):
        reference = _results(call, call.tensors)
        exact = _results(call, [t.double() if t.is_floating_point() else t for t in call.tensors])
    try:
        fused = _fused(call)
    except _KernelError as error:
        return str(error)
    for i, (ours, theirs, right) in enumerate(zip(fused, reference, exact, strict=True)):
        name = f"gradient {i}" if 0 < i <= call.learned else f"result {i if i == 0 else i - call.learned}"
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            return f"{name} is {list(ours.shape)} {ours.dtype}, not {list(theirs.shape)} {theirs.dtype}"
        allowed = 2 * _relative_error(theirs, right) + ROUNDINGS[dtype]
        found = _relative_error(ours, right)
        if not found <= allowed:
            return f"{name} has a relative error of {found:.1e}, allowed are {allowed:.1e}"
    return ""


def _fused(call: Call) -> list[Tensor]:
    """Run the kernel.

    Raises:
        _KernelError: If it fails for another reason than full memory.
    """
    try:
        with use_kernels("fused"):
            results = _results(call, call.tensors)
        _wait_for(call.tensors[0].device)
    except Exception as error:
        if isinstance(error, MemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY):
            raise
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise _KernelError(f"{type(error).__name__}: {first_line}") from error
    return results


def _results(call: Call, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the first result, the gradients of the learned tensors, and the further results."""
    inputs = [t.detach().requires_grad_(i < call.learned) for i, t in enumerate(tensors)]
    first, *further = call.run(*inputs)
    if not call.learned:
        return [first, *further]
    # The golden ratio spreads the values evenly over -1 to 1. They are the same in every dtype.
    gradient = (torch.arange(first.numel(), device=first.device) * 0.618034).remainder(2.0) - 1.0
    gradient = gradient.to(call.tensors[0].dtype).to(first.dtype).view(first.shape)
    gradients = torch.autograd.grad(first, inputs[: call.learned], gradient)
    return [first.detach(), *gradients, *further]


def _relative_error(actual: Tensor, exact: Tensor) -> float:
    """Return `|actual - exact| / |exact|` in the Euclidean norm; NaN or infinity if a value is not finite."""
    difference = (actual.detach().double() - exact.detach().double()).norm()
    size = exact.detach().double().norm()
    return float(difference / size) if size > 0 else float(difference)


def _timed(verdict: Verdict, call: Call, compile_reference: bool) -> Verdict:
    """Return the verdict with times. A kernel that loses is measured again, because other processes add to times."""
    device = call.tensors[0].device

    def fused() -> None:
        with use_kernels("fused"):
            _results(call, call.tensors)

    def reference() -> None:
        with use_kernels("reference"):
            _results(call, call.tensors)

    works = [fused, reference]
    if compile_reference:
        works.append(_compiled_reference(call) or reference)
    for _ in range(MEASUREMENTS):
        times = interleaved_ms(works, device)
        if times[0] <= MARGIN * min(times[1:]):
            break
    fused_ms, reference_ms, *compiled_ms = times
    return replace(
        verdict, fused_ms=fused_ms, reference_ms=reference_ms, compiled_ms=compiled_ms[0] if compiled_ms else None
    )


def _compiled_reference(call: Call) -> Callable[[], None] | None:
    """Compile and run the reference once. Return None if torch.compile cannot compile it."""
    compiled = replace(call, run=torch.compile(call.run, dynamic=False))

    def run() -> None:
        with use_kernels("reference"):
            _results(compiled, call.tensors)

    try:
        run()
    except Exception:  # a reference that does not compile is never faster
        return None
    return run


def interleaved_ms(works: Sequence[Callable[[], object]], device: torch.device) -> list[float]:
    """Return the shortest milliseconds of functions that run one after another, in rounds.

    Other processes only ever add to a time, so the shortest one is the least disturbed.

    Args:
        works: Functions. Each has run before, so that nothing is compiled or loaded here.
        device: Device whose work is waited for.
    """
    times: list[list[float]] = [[] for _ in works]
    began = time.perf_counter()
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() - began > ROUND_BUDGET_S:
            break
        for work, taken in zip(works, times, strict=True):
            _wait_for(device)
            start = time.perf_counter()
            work()
            _wait_for(device)
            taken.append(1000 * (time.perf_counter() - start))
    return [min(taken) for taken in times]


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
