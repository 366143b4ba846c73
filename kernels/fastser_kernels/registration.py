"""Registration of the operations with PyTorch: schema, CPU implementation, Triton launcher and fake.

The operations are opaque to torch.compile and have no autograd formula. The `op.py` of each family wraps them in an
autograd.Function. Triton is imported at the first call with a CUDA tensor. With TRITON_INTERPRET=1, and inside a
`launch.launched_by` block, CPU tensors go to the Triton launchers too, so the same tests cover both.
"""

import importlib
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from fastser_kernels.chips import runs_kernels
from fastser_kernels.choice import choice
from fastser_kernels.constant import constant_when_compiled
from fastser_kernels.fallback_warning import FallbackWarning
from fastser_kernels.native.library import native
from fastser_kernels.transforms import needs_aten
from fastser_kernels.trust.trusted import trusted

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""True where Triton kernels run on CPU tensors, in Triton's interpreter."""

_CLASSES = (Tensor, torch.nn.Parameter, FakeTensor)
"""Classes of the tensors that the operations take. Another class may change the meaning of every operation."""

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""Dtypes of the Triton kernels. On a GPU, float64 runs through the eager reference."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Operation:
    """A registered operation: its signature, and the place of its Triton launcher as "family.module:function"."""

    signature: inspect.Signature
    triton: str

    def launcher(self) -> Callable[..., Any]:
        """Import and return the Triton launcher; its parameters are those of the signature."""
        module, _, function = self.triton.partition(":")
        launcher: Callable[..., Any] = getattr(importlib.import_module(f"fastser_kernels.{module}"), function)
        return launcher

    def launch(self, *args: Any) -> Any:
        """Call the Triton launcher."""
        return self.launcher()(*args)


OPERATIONS: dict[str, Operation] = {}
"""All registered operations by name."""

_LIBRARY = torch.library.Library("fastser_kernels", "FRAGMENT")


def operation(
    name: str, *, cpu: Callable[Arguments, Result], triton: str, mutates: Sequence[str] = ()
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Register the decorated function as the fake of an operation in the namespace `fastser_kernels`.

    The fake makes results of the right shapes, dtypes and strides without computing values. Its signature is the only
    one that is written down: PyTorch's schema is inferred from it, and the CPU implementation is checked against it.

    Args:
        name: Name of the operation.
        cpu: Implementation for CPU tensors of any floating-point dtype, with the signature of the fake.
        triton: Place of the Triton launcher, "family.module:function"; it has the signature of the fake.
        mutates: Names of the arguments that are changed in place.

    Returns:
        A decorator that replaces the fake by the callable operation (an OpOverload).

    Raises:
        TypeError: If the CPU implementation has another signature than the fake.
    """

    def register(fake: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        signature = inspect.signature(fake)
        check_signature(f"CPU implementation of {name}", cpu, signature)
        registered = OPERATIONS[name] = Operation(signature, triton)
        schema = torch.library.infer_schema(fake, mutates_args=mutates, op_name=name)
        _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        _LIBRARY.impl(name, _without_autocast(registered.launch, "cuda"), "CUDA")
        _LIBRARY.impl(name, _without_autocast(_on_cpu(registered.launch, cpu), "cpu"), "CPU")
        torch.library.register_fake(f"fastser_kernels::{name}", fake, lib=_LIBRARY)
        overload: Callable[Arguments, Result] = getattr(torch.ops.fastser_kernels, name).default
        return overload

    return register


def _on_cpu(launcher: Callable[..., Any], cpu: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: (launcher if _launched_on_cpu else cpu)(*args)


_launched_on_cpu = INTERPRETED
"""Whether CPU tensors go to the Triton launchers."""


def launched_on_cpu() -> bool:
    """Return whether CPU tensors go to the Triton launchers."""
    return _launched_on_cpu


@contextmanager
def cpu_tensors_launched() -> Iterator[None]:
    """Send CPU tensors to the Triton launchers inside the block; see `launch.launched_by`."""
    global _launched_on_cpu
    before, _launched_on_cpu = _launched_on_cpu, True
    try:
        yield
    finally:
        _launched_on_cpu = before


def check_signature(what: str, function: Callable[..., Any], signature: inspect.Signature) -> None:
    """Raise TypeError unless `function` has this signature: names, order and types of all arguments, and the result."""
    actual = inspect.signature(function)
    if actual != signature:
        raise TypeError(f"{what} has the signature {actual}, the operation has {signature}: make them equal")


def _without_autocast(implementation: Callable[..., Any], device_type: str) -> Callable[..., Any]:
    """Keep torch.autocast from changing the dtypes of the ATen calls inside an implementation."""

    def run(*args: Any) -> Any:
        if not torch.is_autocast_enabled(device_type):
            return implementation(*args)
        with torch.autocast(device_type, enabled=False):
            return implementation(*args)

    return run


def accumulation_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of sums and statistics of `x`: float32, or float64 for float64 input."""
    return torch.promote_types(x.dtype, torch.float32)


def has_kernel(family: str, x: Tensor) -> bool:
    """Return whether the operations of a family take `x`.

    The reference takes other devices, float64 on a GPU, tensors of other classes such as DTensor, everything inside
    function transforms and exports, and what `use_kernels` or a self-test leaves to it.

    A CUDA tensor causes one warning per process in an environment without Triton, on a GPU that is too old, and for a
    wrong kernel.

    Args:
        family: Name of the family.
        x: Input of the operation.
    """
    if choice.asked is not None:
        choice.asked.add((family, x.dtype))
    if choice.mode == "reference" or needs_aten() or type(x) not in _CLASSES:
        return False
    if x.device.type == "cpu":
        if _launched_on_cpu:
            return x.dtype in KERNEL_DTYPES
        if not _native_loaded():
            return False
    elif x.device.type != "cuda" or x.dtype not in KERNEL_DTYPES or not _has_triton() or not runs_kernels(x.device):
        return False
    compiling = torch.compiler.is_compiling()
    if (family, x.dtype, compiling) in choice.by_reference:
        return False
    return choice.mode == "fused" or trusted(family, x.dtype, x.device, compiling)


@constant_when_compiled
def _native_loaded() -> bool:
    # A constant for torch.compile, which cannot trace the loading of a library.
    return native().library is not None


def cpu_eager(x: Tensor) -> bool:
    """Return whether `x` is computed by CPU code right now: not by a Triton kernel, and not traced by torch.compile."""
    return x.device.type == "cpu" and not _launched_on_cpu and not torch.compiler.is_compiling()


@constant_when_compiled
def _has_triton() -> bool:
    # A constant for torch.compile, which warns when it traces a cached function.
    return _triton_installed()


@cache
def _triton_installed() -> bool:
    if find_spec("triton") is not None:
        return True
    if not torch.compiler.is_compiling():
        warnings.warn(
            "Triton is not installed: fastser's operations run as plain PyTorch on this GPU. To use the fused kernels, "
            "install the package triton.",
            FallbackWarning,
            stacklevel=5,
        )
    return False
