"""Named NVTX ranges, which Nsight Systems shows as the stages of a run in the domain "fastser"."""

from contextlib import AbstractContextManager, nullcontext

try:
    import nvtx
except ImportError:  # no wheel for this platform
    nvtx = None


def stage(name: str) -> AbstractContextManager[object]:
    """Mark a `with` block as a stage in the trace of a profiler. Without a profiler it costs next to nothing.

    Args:
        name: Name in the trace, such as "forward" or "test bim".
    """
    return nullcontext() if nvtx is None else nvtx.annotate(name, domain="fastser")
