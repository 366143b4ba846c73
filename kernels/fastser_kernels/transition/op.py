"""Transition between two DenseBlocks: normalise, mix the channels, halve both axes of the maps.

    y = avgpool2x2(conv1x1(relu(BN(x)), W)) = conv1x1(avgpool2x2(relu(BN(x))), W)

The second form runs, because it needs a quarter of the arithmetic: BN, ReLU and pool as one operation that passes over
the maps once (and once more for the statistics of the batch), then a plain convolution of the pooled maps. Let
z = g xhat + b be the input of the ReLU, xhat = (x - mean) / std, and q the gradient of the pooled maps:

    dz = 1[z > 0] q / 4,    db = sum dz,    dg = sum dz xhat
    dx = g / std (dz - mean(dz) - mean(dz xhat) xhat)    (training)        dx = g / std dz    (eval)

The pool drops an odd last row or column. It is part of the statistics and gets a gradient through them. Shapes: x `[N,
C, T, F]` in any layout, result `[N, D, T//2, F//2]`, channels_last in memory. x and the statistics are saved for the
backward pass. Source: Latif et al. 2020, sections 3.1 and 4.4.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastser_kernels import batch_statistics
from fastser_kernels.checks import check_floating, check_parameter, check_shape, check_values_per_channel
from fastser_kernels.norm_pool_gradients import gradients
from fastser_kernels.registration import accumulation_dtype, cpu_eager, has_kernel, operation
from fastser_kernels.transition import native, reference

FEW = 2**18
"""Values of the pooled maps from which a convolution is faster on a CPU than a matrix product."""


@operation("transition_pool_forward", cpu=native.forward, triton="transition.kernels:forward")
def _forward(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pooled maps, and mean and variance of the batch (`[0]` in eval mode)."""
    N, C, T, F = x.shape
    shape = N, C, T // 2, F // 2
    pooled = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    mean, var = (x.new_empty(C if training else 0, dtype=accumulation_dtype(x)) for _ in range(2))
    return pooled, mean, var


@operation("transition_pool_backward", cpu=native.backward, triton="transition.kernels:backward")
def _backward(
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
    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    return grad_x, [] if input_only else [torch.empty_like(bn_weight), torch.empty_like(bn_bias)]


def ideal_bytes(shape: tuple[int, int, int, int], itemsize: int, *, training: bool, backward: bool) -> int:
    """Return the bytes that the passes over maps of this `shape` and their pooled maps must move.

    The convolution is not counted.

    Forward: the maps read (twice in training, for the statistics), the pooled maps written. Backward to the input: the
    pooled gradient and the maps read (twice in training), the gradient of the maps written.
    """
    N, C, T, F = shape
    maps, pooled = N * C * T * F * itemsize, N * C * (T // 2) * (F // 2) * itemsize
    passes = 2 if training else 1
    return passes * (maps + pooled) + maps if backward else passes * maps + pooled


def ideal_flops(shape: tuple[int, int, int, int], out_channels: int, *, backward: bool) -> int:
    """Return the FLOPs of the 1x1 convolution; the backward pass is the one to the input and the kernel."""
    N, C, T, F = shape
    return (4 if backward else 2) * N * C * out_channels * (T // 2) * (F // 2)


class _Pool(torch.autograd.Function):
    """BN, ReLU and pool, with the statistics of the batch as further results."""

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
        pooled, mean, var = _forward(x, bn_weight, bn_bias, running_mean, running_var, training, eps)
        ctx.save_for_backward(x, mean, var, bn_weight, bn_bias, running_mean, running_var)
        ctx.training, ctx.eps = training, eps
        ctx.mark_non_differentiable(mean, var)
        return pooled, mean, var

    @staticmethod
    def backward(ctx: Any, grad_pooled: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return gradients(ctx, grad_pooled, _backward, reference.pool)


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
    """Run a transition: batch normalisation, ReLU, 1x1 convolution and 2x2 average pooling.

    Args:
        x: Floating-point maps `[N, C, T, F]`.
        bn_weight: Scale `[C]`. All parameters have the dtype of `x` or, for float16 and bfloat16 `x`, float32.
        bn_bias: Shift `[C]`.
        running_mean: Running mean `[C]`; updated in place in training, as nn.BatchNorm2d does.
        running_var: Running variance `[C]`; updated in place in training.
        conv_weight: Kernel `[D, C, 1, 1]`.
        training: Normalise by the statistics of the batch (True) or by the running statistics (False).
        momentum: Weight of the batch in the running statistics.
        eps: Added to the variance.

    Returns:
        Maps `[N, D, T//2, F//2]` in the dtype of `x`, channels_last in memory.

    Raises:
        ValueError: If a tensor has the wrong shape or device, `x` has no maps of at least 2 x 2, or in training fewer
            than two values per channel.
        TypeError: If a tensor has the wrong dtype.

    Example:
        >>> import torch
        >>> from fastser_kernels import transition
        >>> ones, zeros, kernel = torch.ones(8), torch.zeros(8), torch.randn(4, 8, 1, 1)
        >>> x = torch.randn(2, 8, 6, 10)
        >>> transition(x, ones, zeros, zeros, ones, kernel, training=False, momentum=0.1, eps=1e-5).shape
        torch.Size([2, 4, 3, 5])
    """
    check_shape("x", x, ["N", "C", "T", "F"])
    check_floating("x", x)
    if x.shape[1] == 0 or min(x.shape[2:]) < 2:
        raise ValueError(f"x must hold maps of at least 2 x 2, got {list(x.shape)}")
    if training:
        check_values_per_channel(x)
    vectors = {"bn_weight": bn_weight, "bn_bias": bn_bias, "running_mean": running_mean, "running_var": running_var}
    for name, vector in vectors.items():
        check_parameter(name, vector, x, x.shape[1:2])
    check_parameter("conv_weight", conv_weight, x, ("D", x.shape[1], 1, 1))
    if not has_kernel("transition", x):
        return reference.transition(
            x,
            bn_weight,
            bn_bias,
            running_mean,
            running_var,
            conv_weight,
            training=training,
            momentum=momentum,
            eps=eps,
        )
    running = (None, None) if training else (running_mean, running_var)
    pooled, mean, var = _Pool.apply(x, bn_weight, bn_bias, *running, training, eps)
    if training:
        count = x.numel() // x.shape[1]
        batch_statistics.update_running([running_mean], [running_var], mean, var, count, momentum)
    return _mix(pooled, conv_weight.to(pooled.dtype))


def _mix(pooled: Tensor, kernel: Tensor) -> Tensor:
    """Return the 1x1 convolution. For few values on a CPU it is a matrix product, which takes less time to set up."""
    if cpu_eager(pooled) and pooled.numel() < FEW:
        return F.linear(pooled.permute(0, 2, 3, 1), kernel.flatten(1)).permute(0, 3, 1, 2)
    return F.conv2d(pooled, kernel)
