"""One direction of one layer of a long short-term memory (LSTM)."""

from fastser_kernels.lstm.op import lstm

__all__ = ["lstm"]
