"""Reuse of freed memory by the C library's allocator, from which PyTorch takes every tensor on a CPU.

glibc returns large blocks to the system when they are freed. The next tensor of that size then causes a page fault for
each of its pages. docs/performance.md gives the cost.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of glibc's mallopt(3)


def keep_freed_memory() -> None:
    """Keep memory that the main thread frees for its next tensors. Without glibc, change nothing.

    The process holds its peak memory until it ends, and more if freed blocks do not fit the next tensors. Other
    threads, such as those of Ray and Slurm workers, still return large tensors to the system.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_MMAP_MAX, 0)
