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
    normalised = F.batch_norm(x, running_mean, running_var, bn_weight, bn_bias, training, momentum, eps)
    pooled = F.avg_pool2d(F.relu(normalised), 2)
    return F.conv2d(pooled, conv_weight.to(pooled.dtype))
