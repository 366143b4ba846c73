"""How an operation becomes known to PyTorch: schema, CPU implementation, Triton launcher, fake.

Operations are opaque to torch.compile and know no autograd; each family's `op.py` wraps them in an autograd.Function.
Triton is imported at the first call on a CUDA tensor. Where TRITON_INTERPRET=1 is set, CPU tensors go to the Triton
launchers too, so that one set of tests holds for both.
"""

import importlib
import os
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton kernels run on CPU tensors, in Triton's interpreter."""

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What the Triton kernels take; float64 on a GPU is the eager reference's."""

LAUNCHERS: dict[str, Callable[..., Any]] = {}
"""The Triton launcher of each operation by its name; Triton is imported when it is called."""

_reference_only = False

_LIBRARY = torch.library.Library("fastser_kernels", "FRAGMENT")


def register(schema: str, *, cpu: Callable[..., Any], triton: str, fake: Callable[..., Any]) -> Any:
    """Register one operation in the namespace `fastser_kernels`.

    Args:
        schema: Name, arguments and results in PyTorch's schema language.
        cpu: Implementation for CPU tensors of any floating-point dtype.
        triton: Where the launcher is: "family.kernels:function". Its arguments are those of the schema.
        fake: Shapes, dtypes and strides of the results, for torch.compile.

    Returns:
        The callable operation (an OpOverload).
    """
    name = schema.partition("(")[0]
    module, _, function = triton.partition(":")

    def launcher(*args: Any) -> Any:
        return getattr(importlib.import_module(f"fastser_kernels.{module}"), function)(*args)

    LAUNCHERS[name] = launcher
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, _without_autocast(launcher, "cuda"), "CUDA")
    _LIBRARY.impl(name, _without_autocast(launcher if INTERPRETED else cpu, "cpu"), "CPU")
    torch.library.register_fake(f"fastser_kernels::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.fastser_kernels, name).default


def _without_autocast(implementation: Callable[..., Any], device_type: str) -> Callable[..., Any]:
    """Keep torch.autocast from changing the dtypes of the ATen calls inside an implementation."""

    def run(*args: Any) -> Any:
        if not torch.is_autocast_enabled(device_type):
            return implementation(*args)
        with torch.autocast(device_type, enabled=False):
            return implementation(*args)

    return run


def accumulation_dtype(x: Tensor) -> torch.dtype:
    """What sums over values of `x`, and statistics of it, are computed in: float32, of float64 float64."""
    return torch.promote_types(x.dtype, torch.float32)


def has_kernel(x: Tensor) -> bool:
    """Whether our operations take `x`; what they do not take (other devices, float64 on a GPU) is the reference's.

    A CUDA tensor where Triton is not installed is refused with one warning per process.
    """
    if _reference_only:
        return False
    if x.device.type == "cpu":
        return x.dtype in KERNEL_DTYPES or not INTERPRETED
    if x.device.type != "cuda" or x.dtype not in KERNEL_DTYPES:
        return False
    return _triton_installed()


def cpu_eager(x: Tensor) -> bool:
    """Whether `x` is about to be computed on a CPU, now: not interpreted, not traced by torch.compile.

    There some references are faster than our operations at some sizes (`cpu.is_slower`), and are taken.
    """
    return x.device.type == "cpu" and not INTERPRETED and not torch.compiler.is_compiling()


def use_reference(only: bool) -> None:
    """Choose who computes from now on in this process: the eager references alone, or our operations (the default)."""
    global _reference_only
    _reference_only = only


def uses_reference() -> bool:
    """Whether the eager references alone compute."""
    return _reference_only


@cache
def _triton_installed() -> bool:
    if find_spec("triton") is not None:
        return True
    if not torch.compiler.is_compiling():
        warnings.warn("Triton is not installed: fastser's operations run as plain PyTorch on this GPU", stacklevel=4)
    return False
