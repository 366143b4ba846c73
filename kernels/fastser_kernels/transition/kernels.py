"""Triton launchers of the transition's part on the large maps: BN, ReLU and 2x2 average pooling."""

from torch import Tensor

from fastser_kernels import norm_pool_kernels


def forward(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pooled maps, and mean and variance of the batch (`[0]` in eval mode)."""
    return norm_pool_kernels.forward(x, bn_weight, bn_bias, running_mean, running_var, 2, training, eps)


def backward(
    grad_pooled: Tensor,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    eps: float,
    input_only: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Return the gradient of `x`, and those of scale and shift unless `input_only`."""
    return norm_pool_kernels.backward(
        grad_pooled, x, mean, var, bn_weight, bn_bias, running_mean, running_var, 2, training, eps, input_only
    )
