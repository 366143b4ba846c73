"""Work of one kernel, the limits of its time on a chip, and the time of several kernels."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.predicted.chips import (
    ATEN_HOST_SECONDS,
    DEPENDENT_CYCLES,
    DRAM_SHARE,
    FUSED_HOST_SECONDS,
    LAUNCH_SECONDS,
    RESIDENT,
    SCHEDULERS,
    TENSOR_SHARE,
    Chip,
    Products,
)


@dataclass(frozen=True)
class Work:
    """Work of one kernel, or of one operation of ATen.

    Attributes:
        name: Name of the kernel or operation.
        dram: Bytes from and to memory, each tensor once.
        l2: Bytes from and to the L2 cache, with all repeated reads.
        flops: FLOPs of whole tiles, by kind of arithmetic.
        instructions: Instructions of one warp, 0 if unknown.
        programs: Number of programs (blocks), 0 if unknown.
        warps: Warps of one program.
        follows_chip: Whether the launcher takes `RESIDENT` programs per multiprocessor, which share the work.
        launches: Number of kernels.
        fused: Whether it is a kernel of fastser.
    """

    name: str
    dram: float
    l2: float = 0.0
    flops: dict[Products, float] = field(default_factory=dict)
    instructions: float = 0.0
    programs: int = 0
    warps: int = 0
    follows_chip: bool = False
    launches: int = 1
    fused: bool = False

    @property
    def host_seconds(self) -> float:
        """Time of the host that starts it."""
        return self.launches * FUSED_HOST_SECONDS if self.fused else ATEN_HOST_SECONDS


def limits(work: Work, chip: Chip) -> dict[str, float]:
    """Return the lower limits of the seconds of one kernel, by resource.

    A program stays on one multiprocessor. So arithmetic and issue slots are limited by the multiprocessor that has most
    programs, and the latency by one warp whose instructions wait for each other.
    """
    even = work.programs / chip.multiprocessors
    per_multiprocessor = even if work.follows_chip else math.ceil(even)
    of_a_warp = work.instructions * (even / RESIDENT if work.follows_chip else 1.0)
    unevenness = per_multiprocessor / even if even else 1.0
    products = sum(flops / chip.flops[kind] for kind, flops in work.flops.items())
    return {
        "DRAM": work.dram / (DRAM_SHARE * chip.dram),
        "L2": work.l2 / chip.l2 if chip.l2 else 0.0,
        "tensor": unevenness * products / TENSOR_SHARE,
        "issue": per_multiprocessor * work.warps * work.instructions / (SCHEDULERS * chip.clock),
        "latency": of_a_warp * DEPENDENT_CYCLES / chip.clock,
    }


def seconds(work: Work, chip: Chip) -> float:
    """Return the predicted time of one kernel on the GPU: its largest limit, and the cost of its launches."""
    return max(limits(work, chip).values()) + work.launches * LAUNCH_SECONDS


def binding(works: Iterable[Work], chip: Chip) -> str:
    """Return the limit that takes most of the time of all kernels, "launch" included."""
    spent: dict[str, float] = {}
    for work in works:
        of_work = limits(work, chip)
        name = max(of_work, key=lambda limit: of_work[limit])
        spent[name] = spent.get(name, 0.0) + of_work[name]
        spent["launch"] = spent.get("launch", 0.0) + work.launches * LAUNCH_SECONDS
    return max(spent, key=lambda limit: spent[limit])


def total_seconds(works: Iterable[Work], chip: Chip, *, in_graph: bool) -> float:
    """Return the predicted time of kernels that run one after another.

    Args:
        works: The kernels.
        chip: Chip that runs them.
        in_graph: Whether they are replayed from a CUDA graph. If not, the host may be slower than the GPU.
    """
    on_gpu = host = 0.0
    for work in works:
        on_gpu += seconds(work, chip)
        host += work.host_seconds
    return on_gpu if in_graph else max(on_gpu, host)
