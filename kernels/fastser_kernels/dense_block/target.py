# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""The unit that multiplies matrices on the GPU for which a kernel is compiled."""

import triton.language as tl

WARP_GROUPS = ("sm90", "sm100", "sm103")
"""NVIDIA's architectures whose groups of four warps multiply operands in shared memory (wgmma, tcgen05)."""


@tl.core.builtin
def multiplying_unit(_semantic=None):
    """Return "warp group", "warp" or, on AMD, "wavefront" as a constant of the compilation.

    Triton's interpreter has none. The function is no jit function, because Triton 3.6 lets none return a text.
    """
    architecture = str(_semantic.builder.options.arch)
    if architecture.startswith("gfx"):
        return tl.constexpr("wavefront")
    return tl.constexpr("warp group" if architecture in WARP_GROUPS else "warp")
