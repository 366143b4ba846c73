"""Transition between two DenseBlocks: normalise, mix the channels, halve both axes of the maps.

    y = avgpool2x2(conv1x1(relu(BN(x)), W)) = conv1x1(avgpool2x2(relu(BN(x))), W)

The second form, a quarter of the arithmetic, is what runs: BN, ReLU and the pool as one operation that passes over the
map once (and once more for the batch's statistics), then a plain convolution of the pooled map. With z = g xhat + b the
input of the ReLU, xhat = (x - mean) / std, and q the gradient of the pooled map:

    dz = 1[z > 0] q / 4,    db = sum dz,    dg = sum dz xhat
    dx = g / std (dz - mean(dz) - mean(dz xhat) xhat)    (training)        dx = g / std dz    (eval)

A last odd row or column is dropped by the pool, but is part of the statistics and gets a gradient through them. Shapes:
x `[N, C, T, F]` in any layout, result `[N, D, T//2, F//2]`, channels_last in memory. For backward, x and the statistics
are kept. Source: Latif et al. 2020, sections 3.1 and 4.4.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastser_kernels import batch_statistics
from fastser_kernels.checks import check_floating, check_parameter, check_shape, check_values_per_channel
from fastser_kernels.registration import accumulation_dtype, has_kernel, register
from fastser_kernels.transition import cpu, reference


def _fake_forward(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    N, C, T, F = x.shape
    shape = N, C, T // 2, F // 2
    pooled = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    mean, var = (x.new_empty(C if training else 0, dtype=accumulation_dtype(x)) for _ in range(2))
    return pooled, mean, var


def _fake_backward(
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
    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    return grad_x, [] if input_only else [torch.empty_like(bn_weight), torch.empty_like(bn_bias)]


_forward = register(
    "transition_pool_forward(Tensor x, Tensor bn_weight, Tensor bn_bias, Tensor? running_mean, Tensor? running_var, "
    "bool training, float eps) -> (Tensor pooled, Tensor mean, Tensor var)",
    cpu=cpu.forward,
    triton="transition.kernels:forward",
    fake=_fake_forward,
)
_backward = register(
    "transition_pool_backward(Tensor grad_pooled, Tensor x, Tensor mean, Tensor var, Tensor bn_weight, "
    "Tensor bn_bias, Tensor? running_mean, Tensor? running_var, bool training, float eps, bool input_only) "
    "-> (Tensor grad_x, Tensor[] parameters)",
    cpu=cpu.backward,
    triton="transition.kernels:backward",
    fake=_fake_backward,
)


def ideal_bytes(shape: tuple[int, int, int, int], itemsize: int, *, training: bool, backward: bool) -> int:
    """Bytes that the pass over maps of this `shape` must move, and over the pooled ones; the convolution not counted.

    Forward: the maps read (twice when training, for the statistics), the pooled ones written. Backward to the input:
    the pooled gradient read, the maps read, their gradient written; when training the first two twice.
    """
    N, C, T, F = shape
    maps, pooled = N * C * T * F * itemsize, N * C * (T // 2) * (F // 2) * itemsize
    passes = 2 if training else 1
    return passes * (maps + pooled) + maps if backward else passes * maps + pooled


def ideal_flops(shape: tuple[int, int, int, int], out_channels: int, *, backward: bool) -> int:
    """Multiplications and additions of the 1x1 convolution; backward to the input and the kernel."""
    N, C, T, F = shape
    return (4 if backward else 2) * N * C * out_channels * (T // 2) * (F // 2)


class _Pool(torch.autograd.Function):
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
    @once_differentiable
    def backward(ctx: Any, grad_pooled: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        input_only = not any(ctx.needs_input_grad[1:3])
        grad_x, parameters = _backward(grad_pooled, *ctx.saved_tensors, ctx.training, ctx.eps, input_only)
        grad_weight, grad_bias = (None, None) if input_only else parameters
        return grad_x, grad_weight, grad_bias, None, None, None, None


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
    """Run a transition.

    Args:
        x: Floating-point maps `[N, C, T, F]`.
        bn_weight: Scale `[C]`, of the dtype of `x` or, where that is float16 or bfloat16, float32; as all that follow.
        bn_bias: Shift `[C]`.
        running_mean: Mean `[C]`; updated in place when training, as nn.BatchNorm2d does.
        running_var: Variance `[C]`, likewise.
        conv_weight: Kernel `[D, C, 1, 1]`.
        training: Normalise by the batch's statistics (True) or by the running ones (False).
        momentum: Weight of the batch in the running statistics.
        eps: Added to the variance.

    Returns:
        `[N, D, T//2, F//2]`.

    Raises:
        ValueError: If a tensor has the wrong shape or device, there are no maps of at least 2 x 2, or fewer than two
            values per channel when training.
        TypeError: If a tensor has the wrong dtype.
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
    if not has_kernel(x) or cpu.is_slower(x, training):
        arguments = bn_weight, bn_bias, running_mean, running_var, conv_weight
        return reference.transition(x, *arguments, training=training, momentum=momentum, eps=eps)
    running = (None, None) if training else (running_mean, running_var)
    pooled, mean, var = _Pool.apply(x, bn_weight, bn_bias, *running, training, eps)
    if training:
        count = x.numel() // x.shape[1]
        batch_statistics.update_running([running_mean], [running_var], mean, var, count, momentum)
    return F.conv2d(pooled, conv_weight.to(pooled.dtype))
