"""Rates of GPUs, from data sheets, and the shares of them that kernels reach."""

from dataclasses import dataclass
from typing import Literal

Products = Literal["bf16", "tf32", "fp32"]
"""Kind of arithmetic: tensor cores with 16-bit or tf32 operands, or multiply-adds of the ordinary units."""

DRAM_SHARE, TENSOR_SHARE = 0.90, 0.80
"""Shares of the data sheet that a large copy (4.3 of 4.8 TB/s) and a large bf16 product (0.79 of 0.99 PFLOP/s) reach.

Both were measured on one H200, and are assumed for every chip.
"""

SCHEDULERS = 4
"""Schedulers of a multiprocessor. Each issues one instruction of one warp per clock."""

RESIDENT = 2
"""Programs per multiprocessor of a kernel whose programs share the work, as its launcher chooses."""

DEPENDENT_CYCLES = 4
"""Clocks from an instruction to one that needs its result, on Volta and later: the latency of ordinary arithmetic."""

LAUNCH_SECONDS = 2e-6
"""Shortest time of a kernel in a CUDA graph or behind a full queue."""

FUSED_HOST_SECONDS, ATEN_HOST_SECONDS = 28.6e-6, 8e-6
"""Time of the host for one launch of a Triton kernel of fastser, and for one operation of ATen with its gradient.

The first was measured on a CPU without a GPU, with a driver whose kernels do nothing. The second is an assumption.
"""


@dataclass(frozen=True)
class Chip:
    """A GPU.

    Attributes:
        name: Name.
        multiprocessors: Number of streaming multiprocessors.
        clock: Clock under load, in Hz.
        dram: Bytes per second of the memory, by the data sheet.
        l2: Bytes per second of the L2 cache, or None if no vendor or review gives them.
        flops: Dense FLOPs per second by kind of arithmetic, by the data sheet, with accumulation in float32.
        source: Origin of the numbers.
    """

    name: str
    multiprocessors: int
    clock: float
    dram: float
    l2: float | None
    flops: dict[Products, float]
    source: str


def _flops(bf16: float, tf32: float, fp32: float) -> dict[Products, float]:
    return {"bf16": bf16 * 1e12, "tf32": tf32 * 1e12, "fp32": fp32 * 1e12}


CHIPS = (
    Chip(
        "A100",
        multiprocessors=108,
        clock=1.41e9,
        dram=2.039e12,
        l2=5120 * 1.41e9,
        flops=_flops(312, 156, 19.5),
        source="NVIDIA A100 80 GB SXM data sheet; L2: 5120 bytes per clock, NVIDIA A100 white paper",
    ),
    Chip(
        "RTX 4090",
        multiprocessors=128,
        clock=2.52e9,
        dram=1.008e12,
        l2=None,
        flops=_flops(165.2, 82.6, 82.6),
        source="NVIDIA Ada white paper",
    ),
    Chip(
        "L40S",
        multiprocessors=142,
        clock=2.49e9,
        dram=0.864e12,
        l2=None,
        flops=_flops(362, 183, 91.6),
        source="NVIDIA L40S data sheet; clock from its tensor rate",
    ),
    Chip(
        "H100",
        multiprocessors=132,
        clock=1.7e9,
        dram=3.35e12,
        l2=5.5e12,
        flops=_flops(989, 495, 67),
        source="NVIDIA H100 SXM data sheet; clock and L2 are assumptions",
    ),
    Chip(
        "H200",
        multiprocessors=132,
        clock=1.7e9,
        dram=4.8e12,
        l2=5.5e12,
        flops=_flops(989, 495, 67),
        source="NVIDIA H200 SXM data sheet; clock and L2 as H100",
    ),
    Chip(
        "B200",
        multiprocessors=148,
        clock=1.85e9,
        dram=8.0e12,
        l2=None,
        flops=_flops(2250, 1125, 75),
        source="NVIDIA Blackwell data sheet; clock from its tensor rate",
    ),
)
"""The chips of the predictions, oldest first."""


def chip_named(device_name: str) -> Chip | None:
    """Return the chip whose name is part of a device's name, such as "NVIDIA H200", or None."""
    return next((chip for chip in CHIPS if chip.name in device_name), None)
