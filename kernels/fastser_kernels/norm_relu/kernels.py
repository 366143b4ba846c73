"""Triton launchers of BN and ReLU of maps."""

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
    """Return the normalised and rectified maps, and mean and variance of the batch (`[0]` in eval mode)."""
    return norm_pool_kernels.forward(x, bn_weight, bn_bias, running_mean, running_var, 1, training, eps)


def backward(
    grad_maps: Tensor,
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
        grad_maps, x, mean, var, bn_weight, bn_bias, running_mean, running_var, 1, training, eps, input_only
    )
