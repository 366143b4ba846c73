# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The unit that multiplies matrices on the GPU for which a kernel is compiled."""

import triton
import triton.language as tl

from fastser_kernels.launch import INTERPRETED

WARP_GROUPS = ("sm90", "sm100", "sm103")
"""NVIDIA's architectures whose groups of four warps multiply operands in shared memory (wgmma, tcgen05)."""


@tl.core.builtin
def _unit(_semantic=None):
    architecture = str(_semantic.builder.options.arch)
    if architecture.startswith("gfx"):
        return tl.constexpr("wavefront")
    return tl.constexpr("warp group" if architecture in WARP_GROUPS else "warp")


@triton.jit
def multiplying_unit():
    """Return "warp group", "warp" or, on AMD, "wavefront" as a constant of the compilation."""
    if INTERPRETED:
        return "warp"
    else:  # noqa: RET505 - a branch that is not compiled
        return _unit()
