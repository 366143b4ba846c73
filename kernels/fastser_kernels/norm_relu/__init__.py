"""BN and ReLU at the end of a trunk."""

from fastser_kernels.norm_relu.op import norm_relu

__all__ = ["norm_relu"]
