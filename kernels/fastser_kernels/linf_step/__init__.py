"""One step of a projected gradient attack in the L-infinity norm."""

from fastser_kernels.linf_step.op import linf_step

__all__ = ["linf_step"]
