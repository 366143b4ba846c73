"""The transition in plain PyTorch."""

import torch.nn.functional as F
from torch import Tensor


def transition(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    conv_weight: Tensor,
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return the result of `fastser_kernels.transition` for the same arguments, differentiable by autograd."""
    pooled = pool(x, bn_weight, bn_bias, running_mean, running_var, training=training, momentum=momentum, eps=eps)
    return F.conv2d(pooled, conv_weight.to(pooled.dtype))


def pool(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return the maps before the convolution. Without running statistics, those of the batch are used in training."""
    normalised = F.batch_norm(x, running_mean, running_var, bn_weight, bn_bias, training, momentum, eps)
    return F.avg_pool2d(F.relu(normalised), 2)
