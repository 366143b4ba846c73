"""Issue slots that kernels take on sm_90: instructions per element of a tile, and per segment of a spectrogram.

A multiprocessor issues at most four instructions of 32 threads per clock. Kernels with few bytes per element are bound
by this limit.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import triton
from fastser_kernels.launch import Launch

ELEMENTS: dict[str, Callable[[dict[str, Any]], int]] = {
    "conv_kernel": lambda c: c["BM"] * c["BK"],
    "conv_backward_kernel": lambda c: c["BP"] * c["BC"],
    "input_gradient_kernel": lambda c: c["BP"] * c["BC"] * c["BK"] // c["DEPTH"],
    "maps_kernel": lambda c: c["BP"] * c["BC"],
    "sums_kernel": lambda c: c["BF"] * c["BC"] * c["SIDE"] ** 2,
}
"""Elements of the maps that an iteration of a kernel's longest loop reads, by its constants."""

ITERATIONS: dict[str, Callable[[dict[str, Any]], int]] = {
    "level_kernel": lambda a: triton.cdiv(triton.cdiv(a["win"], 2), a["TK"]),
}
"""Iterations of a kernel's longest loop, by the arguments of a launch."""

SLOTS_PER_NANOSECOND = 132 * 4 * 1.7
"""Issue slots of an H100: multiprocessors, slots per clock, clocks per nanosecond."""


def per_element(kernel: str, constants: dict[str, Any], threads: int, loop: int) -> float | None:
    """Return the instructions of the longest loop for each element of the maps, or None for an unlisted kernel.

    Args:
        kernel: Name of the kernel.
        constants: Its constants.
        threads: Threads of a program.
        loop: Instructions of the longest loop.
    """
    if kernel not in ELEMENTS:
        return None
    return round(threads * loop / ELEMENTS[kernel](constants), 1)


def nanoseconds(launches: Sequence[tuple[Launch, int, int]]) -> float:
    """Return the time in which an H100 issues the instructions of launches.

    Args:
        launches: Each launch, the number of instructions of its kernel, and that of its longest loop.
    """
    total = 0
    for launch, instructions, loop in launches:
        repeats = ITERATIONS[launch.kernel.fn.__name__](launch.arguments) - 1
        total += math.prod(launch.grid) * launch.num_warps * (instructions + repeats * loop)
    return total / SLOTS_PER_NANOSECOND
