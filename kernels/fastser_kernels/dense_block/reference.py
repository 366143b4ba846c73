"""A DenseBlock in plain PyTorch: the oracle of the tests and the baseline of the benchmarks."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastser_kernels.transforms import transformed


def dense_block(
    x: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: Sequence[Tensor | None],
    running_var: Sequence[Tensor | None],
    conv_weight: list[Tensor],
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return the result of `fastser_kernels.dense_block`, differentiable by autograd; update the running statistics."""
    if not transformed():  # torch.vmap knows no layouts
        x = x.contiguous(memory_format=torch.channels_last)
    for weight, bias, mean, var, kernel in zip(bn_weight, bn_bias, running_mean, running_var, conv_weight, strict=True):
        activated = F.relu(F.batch_norm(x, mean, var, weight, bias, training, momentum, eps))
        x = torch.cat([x, F.conv2d(activated, kernel.to(x.dtype), padding=1)], dim=1)
    return x
