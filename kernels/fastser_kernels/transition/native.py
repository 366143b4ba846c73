"""BN, ReLU and pool of the transition in one call of the compiled library for each direction."""

from torch import Tensor

from fastser_kernels import norm_pool


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
    return norm_pool.forward(x, bn_weight, bn_bias, running_mean, running_var, 2, training, eps)


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
    return norm_pool.backward(
        grad_pooled, x, mean, var, bn_weight, bn_bias, running_mean, running_var, 2, training, eps, input_only
    )
