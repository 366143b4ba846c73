"""2x2 max-pooling with ReLU in plain PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def max_pool_relu(x: Tensor) -> Tensor:
    """Return the result of `fastser_kernels.max_pool_relu`, differentiable by autograd."""
    return F.relu(F.max_pool2d(x, 2))


def spread(grad: Tensor, chosen: Tensor, rows: int, columns: int) -> Tensor:
    """Return the gradient `[N, C, rows, columns]` of the input, in operations that can be differentiated.

    Args:
        grad: Gradient of the result, `[N, C, T, F]`.
        chosen: Place of each value in its window, 4 for none, `[N, T, F, C]`.
        rows: Number of rows of the input.
        columns: Number of columns of the input.
    """
    n, channels, t, f = grad.shape
    place = chosen.permute(0, 3, 1, 2)
    a, b, c, d = (torch.where(place == p, grad, torch.zeros_like(grad)) for p in range(4))
    above, below = torch.stack([a, b], dim=4), torch.stack([c, d], dim=4)
    values = torch.stack([above, below], dim=3).reshape(n, channels, 2 * t, 2 * f)
    return F.pad(values, (0, columns % 2, 0, rows % 2))
