"""Named ranges for a profiler: Nsight Systems shows the stages of a run as NVTX ranges of the domain "fastser"."""

from contextlib import AbstractContextManager, nullcontext

try:
    import nvtx
except ImportError:  # no wheel for this platform
    nvtx = None


def stage(name: str) -> AbstractContextManager[object]:
    """Mark what runs inside as `name` in a trace; free where no profiler listens.

    Args:
        name: As a reader of the trace would look for it: "forward", "test bim".
    """
    return nullcontext() if nvtx is None else nvtx.annotate(name, domain="fastser")
