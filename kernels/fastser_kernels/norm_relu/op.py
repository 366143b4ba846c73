"""Batch normalisation and ReLU of maps, as at the end of a trunk of DenseBlocks.

    y = relu(BN(x)),    z = g xhat + b,    xhat = (x - mean) / std

Let q be the gradient of y. Then

    dz = 1[z > 0] q,    db = sum dz,    dg = sum dz xhat
    dx = g / std (dz - mean(dz) - mean(dz xhat) xhat)    (training)        dx = g / std dz    (eval)

The maps are read once, and once more for the statistics of the batch. For the backward pass x and the statistics are
saved, and not y. Shapes: x `[N, C, T, F]` in any layout, result `[N, C, T, F]`, channels_last in memory. Source: Latif
et al. 2020, section 3.1; Huang et al. 2017 (the last BN of DenseNet).
"""

from typing import Any

import torch
from torch import Tensor

from fastser_kernels import batch_statistics
from fastser_kernels.checks import check_floating, check_parameter, check_shape, check_values_per_channel
from fastser_kernels.norm_pool_gradients import gradients
from fastser_kernels.norm_relu import native, reference
from fastser_kernels.registration import accumulation_dtype, cpu_eager, has_kernel, operation

SMALL = 2**18
"""Values of the maps below which the reference is faster on a CPU: two calls of ATen take less time to start."""


@operation("norm_relu_forward", cpu=native.forward, triton="norm_relu.kernels:forward")
def _forward(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised and rectified maps, and mean and variance of the batch (`[0]` in eval mode)."""
    maps = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    mean, var = (x.new_empty(x.shape[1] if training else 0, dtype=accumulation_dtype(x)) for _ in range(2))
    return maps, mean, var


@operation("norm_relu_backward", cpu=native.backward, triton="norm_relu.kernels:backward")
def _backward(
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
    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    return grad_x, [] if input_only else [torch.empty_like(bn_weight), torch.empty_like(bn_bias)]


def ideal_bytes(shape: tuple[int, int, int, int], itemsize: int, *, training: bool, backward: bool) -> int:
    """Return the bytes that the passes over maps of this `shape` must move.

    Forward: the maps read (twice in training, for the statistics) and written. Backward to the input: the gradient and
    the maps read (twice in training), the gradient of the maps written.
    """
    N, C, T, F = shape
    maps, passes = N * C * T * F * itemsize, 2 if training else 1
    return (2 * passes + 1) * maps if backward else (passes + 1) * maps


class _NormReLU(torch.autograd.Function):
    """BN and ReLU, with the statistics of the batch as further results."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bn_weight: Tensor,
        bn_bias: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        training: bool,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        maps, mean, var = _forward(x, bn_weight, bn_bias, running_mean, running_var, training, eps)
        ctx.save_for_backward(x, mean, var, bn_weight, bn_bias, running_mean, running_var)
        ctx.training, ctx.eps = training, eps
        ctx.mark_non_differentiable(mean, var)
        return maps, mean, var

    @staticmethod
    def backward(ctx: Any, grad_maps: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return gradients(ctx, grad_maps, _backward, reference.norm_relu)


def norm_relu(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Run batch normalisation and ReLU.

    Args:
        x: Floating-point maps `[N, C, T, F]`.
        bn_weight: Scale `[C]`. All parameters have the dtype of `x` or, for float16 and bfloat16 `x`, float32.
        bn_bias: Shift `[C]`.
        running_mean: Running mean `[C]`; updated in place in training, as nn.BatchNorm2d does.
        running_var: Running variance `[C]`; updated in place in training.
        training: Normalise by the statistics of the batch (True) or by the running statistics (False).
        momentum: Weight of the batch in the running statistics.
        eps: Added to the variance.

    Returns:
        Maps `[N, C, T, F]` in the dtype of `x`, channels_last in memory.

    Raises:
        ValueError: If a tensor has the wrong shape or device, `x` has no maps of at least 1 x 1, or in training fewer
            than two values per channel.
        TypeError: If a tensor has the wrong dtype.

    Example:
        >>> import torch
        >>> from fastser_kernels import norm_relu
        >>> ones, zeros = torch.ones(2), torch.zeros(2)
        >>> x = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1)
        >>> norm_relu(x, ones, zeros, zeros, ones, training=False, momentum=0.1, eps=0.0).flatten().tolist()
        [0.0, 2.0]
    """
    check_shape("x", x, ["N", "C", "T", "F"])
    check_floating("x", x)
    if 0 in x.shape[1:]:
        raise ValueError(f"x must hold maps of at least 1 x 1, got {list(x.shape)}")
    if training:
        check_values_per_channel(x)
    vectors = {"bn_weight": bn_weight, "bn_bias": bn_bias, "running_mean": running_mean, "running_var": running_var}
    for name, vector in vectors.items():
        check_parameter(name, vector, x, x.shape[1:2])
    if not has_kernel("norm_relu", x) or (cpu_eager(x) and x.numel() < SMALL):
        return reference.norm_relu(
            x, bn_weight, bn_bias, running_mean, running_var, training=training, momentum=momentum, eps=eps
        )
    running = (None, None) if training else (running_mean, running_var)
    maps, mean, var = _NormReLU.apply(x, bn_weight, bn_bias, *running, training, eps)
    if training:
        count = x.numel() // x.shape[1]
        batch_statistics.update_running([running_mean], [running_var], mean, var, count, momentum)
    return maps  # type: ignore[no-any-return]
