"""The transition between two DenseBlocks."""

from fastser_kernels.transition.op import transition

__all__ = ["transition"]
