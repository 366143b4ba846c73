"""A highway network."""

from fastser_kernels.highway.op import highway

__all__ = ["highway"]
