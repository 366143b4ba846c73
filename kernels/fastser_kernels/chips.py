"""Properties of GPUs that decide whether the kernels run on one, and with which launches."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from fastser_kernels.constant import constant_when_compiled
from fastser_kernels.fallback_warning import FallbackWarning

LEAST_CAPABILITY = 80
"""Smallest NVIDIA architecture, sm_80, that the kernels run on.

Tensor cores of older ones multiply neither bfloat16 nor tf32, and 64 KiB of shared memory are too few for a tile.
"""

AMD_SHARED_MEMORY = 64 * 1024
"""Bytes of shared memory of a program on AMD's GPUs. torch reports no limit for them."""


@dataclass(frozen=True)
class Chip:
    """One model of GPU.

    Attributes:
        architecture: "sm_90", "gfx942", ...; or "" for launches that are recorded or interpreted.
        multiprocessors: Number of multiprocessors.
        shared_memory: Bytes of shared memory that one program may use.
        warp_size: Threads that execute one instruction together.
    """

    architecture: str
    multiprocessors: int
    shared_memory: int
    warp_size: int

    @property
    def on_amd(self) -> bool:
        """Whether AMD makes it."""
        return self.architecture.startswith("gfx")

    @property
    def tensor_memory(self) -> bool:
        """Whether its tensor cores keep accumulators in a memory of their own (tcgen05, data-center Blackwell)."""
        return self.architecture.startswith("sm_") and 100 <= int(self.architecture[3:]) < 120

    @property
    def runs_kernels(self) -> bool:
        """Whether the Triton kernels run on it."""
        return not self.architecture.startswith("sm_") or int(self.architecture[3:]) >= LEAST_CAPABILITY


WITHOUT_GPU = Chip("", multiprocessors=132, shared_memory=227 * 1024, warp_size=32)
"""Chip of launches without a GPU: the sizes of an H100. They are therefore the same on every machine."""

_assumed = WITHOUT_GPU


@contextmanager
def assumed(chip: Chip) -> Iterator[None]:
    """Make the launches for tensors that are on no GPU those of a chip, inside the block."""
    global _assumed
    outer, _assumed = _assumed, chip
    try:
        yield
    finally:
        _assumed = outer


def chip_of(device: torch.device) -> Chip:
    """Return the chip of a GPU. For another device, or without a GPU, it is the assumed one."""
    return (_gpu(device) if device.type == "cuda" else None) or _assumed


@constant_when_compiled
def runs_kernels(device: torch.device) -> bool:
    """Return whether the Triton kernels run on a GPU. For one that is too old, warn once per process.

    The answer is a constant for torch.compile, which cannot trace a query of the driver.
    """
    chip = chip_of(device)
    if not chip.runs_kernels:
        _warn(chip.architecture)
    return chip.runs_kernels


@cache
def _warn(architecture: str) -> None:
    warnings.warn(
        f"fastser's kernels need a GPU of architecture sm_{LEAST_CAPABILITY} or later, and this one is {architecture}: "
        "the operations run as plain PyTorch.",
        FallbackWarning,
        stacklevel=2,
    )


@cache
def _gpu(device: torch.device) -> Chip | None:
    """Return the chip of a GPU of this machine, or None on a machine without GPUs."""
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(device)
    on_amd = torch.version.hip is not None
    return Chip(
        properties.gcnArchName.partition(":")[0] if on_amd else f"sm_{properties.major}{properties.minor}",
        properties.multi_processor_count,
        getattr(properties, "shared_memory_per_block_optin", AMD_SHARED_MEMORY),
        properties.warp_size,
    )
