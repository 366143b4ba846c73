"""BN and ReLU of maps in plain PyTorch."""

import torch.nn.functional as F
from torch import Tensor


def norm_relu(
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
    """Return the result of `fastser_kernels.norm_relu` for the same arguments, differentiable by autograd.

    Without running statistics, those of the batch are used in training.
    """
    return F.relu(F.batch_norm(x, running_mean, running_var, bn_weight, bn_bias, training, momentum, eps))
