"""Long short-term memory, one direction of one layer."""

from fastser_kernels.lstm.op import lstm

__all__ = ["lstm"]
