"""A whole DenseBlock."""

from fastser_kernels.dense_block.op import dense_block

__all__ = ["dense_block"]
