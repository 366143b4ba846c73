# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""Device functions that convert the numbers of a tile."""

import triton
import triton.language as tl


@triton.jit
def as_fp32(x):
    """Return the values in fp32. A shift widens two bf16 values in two instructions, a cast in three."""
    if x.dtype == tl.bfloat16:
        return (x.to(tl.int16, bitcast=True).to(tl.int32) << 16).to(tl.float32, bitcast=True)
    return x.to(tl.float32)


@triton.jit
def split_tf32(x):
    """Return the part of fp32 values that tf32 represents, and the remainder."""
    high = (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
    return high, x - high
