"""Max-pooling with ReLU."""

from fastser_kernels import max_pool_relu
from torch import Tensor, nn


class MaxPoolReLU(nn.Module):
    """2x2 max-pooling with stride 2 and ReLU. An odd last row or column is dropped.

    Shape:
        `[N, C, T, F]` -> `[N, C, T//2, F//2]`, channels_last in memory.

    Example:
        >>> import torch
        >>> MaxPoolReLU()(torch.randn(2, 3, 17, 8)).shape
        torch.Size([2, 3, 8, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the positive part of the largest value of each window of `x` `[N, C, T, F]`, `[N, C, T//2, F//2]`."""
        return max_pool_relu(x)
