"""Assembler of the kernels on Hopper (sm_90).

Triton's wheels up to 3.7 assemble for sm_90 by a ptxas of CUDA 12, which is known to miscompile: it reuses registers
that an asynchronous matrix product still reads, and drops operands (triton pull requests 11781 and 11854, issue 11581;
flash-linear-attention pull request 1262). They hold a second ptxas, for Blackwell. From CUDA 13.1 on, the kernels of
this package are assembled by that one. Other kernels of the process keep Triton's choice.

A driver loads binaries of its own major version of CUDA and of earlier ones. So a driver of CUDA 12 leaves the old
assembler. Then no program has more than four warps, because convolutions in one flattened loop, such as ours, are known
to be wrong with eight (pytorch issue 173068).
"""

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from triton import knobs

ARCHITECTURE = 90
"""Architecture of Hopper, as Triton's targets name it."""
RIGHT_VERSION = (13, 1)
"""First version of ptxas that passes the known cases."""
PTX_VERSION = 90
"""Version of PTX, 9.0, which an assembler before CUDA 13 refuses. It also separates the binaries in Triton's cache."""
CUDA_13 = 13_000
"""First version of the CUDA driver that loads binaries of CUDA 13."""
MOST_WARPS = 4
"""Largest number of warps that is right in binaries of the old assembler."""

_one_compilation = threading.Lock()


@dataclass(frozen=True)
class Assembly:
    """Triton's `compile` with another assembler for sm_90.

    Attributes:
        compile: Triton's function.
        ptxas: Path of the assembler.
    """

    compile: Callable[..., Any]
    ptxas: str

    def __call__(self, source: Any, target: Any, options: dict[str, Any], **rest: Any) -> Any:
        """Compile a kernel."""
        if target.arch != ARCHITECTURE:
            return self.compile(source, target=target, options=options, **rest)
        with _one_compilation, knobs.nvidia.scope():
            knobs.nvidia.ptxas = self.ptxas
            return self.compile(source, target=target, options=options | {"ptx_version": PTX_VERSION}, **rest)


@cache
def right_assembler() -> str | None:
    """Return the path of an assembler that is right for sm_90, or None if Triton has none."""
    for tool in (knobs.nvidia.ptxas, getattr(knobs.nvidia, "ptxas_blackwell", None)):
        if tool is not None and tuple(map(int, tool.version.split("."))) >= RIGHT_VERSION:
            return str(tool.path)
    return None


@cache
def usable_assembler() -> str | None:
    """Return the path of an assembler that is right for sm_90 and whose binaries the driver loads, or None."""
    return right_assembler() if driver_version() >= CUDA_13 else None


def driver_version() -> int:
    """Return the version of CUDA that the driver supports: 13000 for 13.0."""
    version = ctypes.c_int()
    ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    return version.value


def prepare_for_hopper(kernel: Any, num_warps: int) -> int:
    """Let the next compilations of a kernel use the right assembler; return the number of warps that it may have.

    Args:
        kernel: The function that `triton.jit` made.
        num_warps: Wanted number of warps.
    """
    ptxas = usable_assembler()
    if ptxas is None:
        return min(num_warps, MOST_WARPS)
    kernel.device_caches[torch.cuda.current_device()]  # the first access for a device sets the attribute `compile`
    if not isinstance(kernel.compile, Assembly):
        kernel.compile = Assembly(kernel.compile, ptxas)
    return num_warps
