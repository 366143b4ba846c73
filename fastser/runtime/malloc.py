"""What a process does with memory that it frees: PyTorch on a CPU takes every tensor from the C library's allocator.

glibc gives large blocks back to the system at once, and the next one of that size comes back empty, page by page
(docs/performance.md says what that costs).
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of glibc's mallopt(3)


def keep_freed_memory() -> None:
    """Keep what the main thread frees for its next tensor; nothing changes where the C library is not glibc.

    The process holds what it needed at most until it ends, and more where freed blocks do not fit the next tensors. In
    other threads, as of Ray and Slurm workers, large tensors are still given back.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_MMAP_MAX, 0)
