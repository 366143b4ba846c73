"""DenseBlock as one operation: each of its L layers appends G feature maps to all earlier maps.

    x_0 = x,    x_i = [x_{i-1}, conv3x3(relu(BN_i(x_{i-1})), W_i)],    i = 1..L

Every layer reads the first C_i = C0 + (i-1)*G channels of one buffer and writes the next G. The statistics of a map are
taken once, when it is written, and all later layers normalise by them. The backward pass goes from layer L to layer 1
and keeps the running sum D of the gradients of the maps. Let dz_i be the gradient at the input of the i-th ReLU, xhat
the normalised maps, r their inverse standard deviation, g_i the scales, and <> the mean of a channel over the batch:

    D   += g_i r dz_i               A += g_i r <dz_i>               B += g_i r <dz_i xhat>
    dgamma_i = sum dz_i xhat        dbeta_i = sum dz_i              dW_i = correlation of relu(BN_i) with dy_i

In training, the gradient of a BatchNorm has two further terms. They are applied once per map, when its gradient is
consumed: dy = D - A - B xhat. The buffer, the statistics and references to the parameters are saved for the backward
pass.

Shapes: x `[N, C0, T, F]`, any layout; result `[N, C0 + L*G, T, F]`, channels_last in memory (N, T, F, C). Source: Latif
et al. 2020, section 3.1; Huang et al. 2017 (DenseNet), without bottleneck and compression.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastser_kernels import batch_statistics
from fastser_kernels.checks import (
    check_floating,
    check_number,
    check_parameter,
    check_shape,
    check_values_per_channel,
)
from fastser_kernels.dense_block import native, reference
from fastser_kernels.packing import unpacked
from fastser_kernels.registration import accumulation_dtype, has_kernel, operation
from fastser_kernels.transforms import backward_needs_aten, changeable, reference_gradients


def _channels_last(shape: Sequence[Any], like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


@operation("dense_block_forward", cpu=native.forward, triton="dense_block.forward_kernels:forward")
def _forward(
    x: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: list[Tensor],
    running_var: list[Tensor],
    conv_weight: list[Tensor],
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the maps and, in training, mean and biased variance of all maps that a layer reads (`[0]` in eval)."""
    n, channels, t, f = x.shape
    read = channels + (len(conv_weight) - 1) * conv_weight[0].shape[0]
    maps = _channels_last((n, read + conv_weight[0].shape[0], t, f), x)
    mean, var = (x.new_empty(read if training else 0, dtype=accumulation_dtype(x)) for _ in range(2))
    return maps, mean, var


@operation("dense_block_backward", cpu=native.backward, triton="dense_block.backward_kernels:backward")
def _backward(
    grad_maps: Tensor,
    maps: Tensor,
    mean: Tensor,
    var: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: list[Tensor],
    running_var: list[Tensor],
    conv_weight: list[Tensor],
    training: bool,
    eps: float,
    input_only: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Return the gradients of x, bn_weight, bn_bias and conv_weight; these lists are empty if `input_only`."""
    n, _, t, f = maps.shape
    grad_x = _channels_last((n, conv_weight[0].shape[1], t, f), maps)
    if input_only:
        return grad_x, [], [], []
    bn_weight, bn_bias, conv_weight = ([torch.empty_like(p) for p in ps] for ps in (bn_weight, bn_bias, conv_weight))
    return grad_x, bn_weight, bn_bias, conv_weight


class _Parameters(NamedTuple):
    """The parameter lists of the operation. In training nothing reads the running statistics, so they are empty."""

    bn_weight: list[Tensor]
    bn_bias: list[Tensor]
    running_mean: list[Tensor]
    running_var: list[Tensor]
    conv_weight: list[Tensor]

    @classmethod
    def unpacked(cls, tensors: Sequence[Tensor], training: bool) -> "_Parameters":
        """Return the lists that were passed one after another as `tensors`."""
        if training:
            bn_weight, bn_bias, conv_weight = unpacked(tensors, 3)
            return cls(bn_weight, bn_bias, [], [], conv_weight)
        return cls(*unpacked(tensors, 5))


class _DenseBlock(torch.autograd.Function):
    """The block as a function of x, training, eps and the tensors of `_Parameters`, list after list."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, training: bool, eps: float, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.training, ctx.eps = training, eps
        maps, mean, var = _forward(x, *_Parameters.unpacked(tensors, training), training, eps)
        ctx.mark_non_differentiable(mean, var)
        ctx.save_for_backward(maps, mean, var, *tensors)
        return maps, mean, var

    @staticmethod
    def backward(ctx: Any, grad_maps: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        maps, mean, var, *tensors = ctx.saved_tensors
        x_wanted, _, _, *tensors_wanted = ctx.needs_input_grad
        if backward_needs_aten(grad_maps):
            reference_block = partial(_reference, ctx.training, ctx.eps)
            x = maps[:, : tensors[0].shape[0]]  # a function of the input of this node, also for second derivatives
            wanted = [x_wanted, *tensors_wanted]
            grad_x, *gradients = reference_gradients(reference_block, [x, *tensors], wanted, grad_maps)
            return grad_x, None, None, *gradients
        # Inside a compiled graph, the copy is fused into the operation that makes the gradient.
        grad_maps = grad_maps.contiguous(memory_format=torch.channels_last)
        input_only = not any(tensors_wanted)
        parameters = _Parameters.unpacked(tensors, ctx.training)
        grad_x, bn_weight, bn_bias, conv_weight = _backward(
            grad_maps, maps, mean, var, *parameters, ctx.training, ctx.eps, input_only
        )
        if input_only:
            return grad_x, None, None, *[None] * len(tensors)
        running = [None] * len([*parameters.running_mean, *parameters.running_var])
        return grad_x, None, None, *bn_weight, *bn_bias, *running, *conv_weight


def _reference(training: bool, eps: float, x: Tensor, *tensors: Tensor) -> Tensor:
    """Return the maps by the reference, without an update of the running statistics."""
    bn_weight, bn_bias, running_mean, running_var, conv_weight = _Parameters.unpacked(tensors, training)
    running = [None] * len(conv_weight)
    mean, var = (running, running) if training else (running_mean, running_var)
    return reference.dense_block(
        x, bn_weight, bn_bias, mean, var, conv_weight, training=training, momentum=0.0, eps=eps
    )


def ideal_bytes(pixels: int, channels: int, growth_rate: int, num_layers: int, itemsize: int) -> tuple[int, int]:
    """Return the bytes that forward and backward must move if nothing stays in the cache from layer to layer.

    Forward copies x into the buffer, reads the channels of each layer and writes its new maps. Backward reads the
    channels of each layer, reads and writes their gradients, reads the gradient and the values of the layer's own maps,
    and writes the gradient of x.

    Args:
        pixels: Number of pixels, N * T * F.
        channels: Number of input channels, C0.
        growth_rate: Number of new maps per layer, G.
        num_layers: Number of layers, L.
        itemsize: Bytes of a value.
    """
    read = sum(channels + i * growth_rate for i in range(num_layers))
    new = num_layers * growth_rate
    return pixels * itemsize * (read + new + 2 * channels), pixels * itemsize * (3 * read + 2 * new + 3 * channels)


def ideal_flops(pixels: int, channels: int, growth_rate: int, num_layers: int) -> tuple[int, int]:
    """Return the FLOPs of the convolutions, forward and backward (input and weight gradients)."""
    forward = 18 * growth_rate * pixels * sum(channels + i * growth_rate for i in range(num_layers))
    return forward, 2 * forward


def dense_block(
    x: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: list[Tensor],
    running_var: list[Tensor],
    conv_weight: list[Tensor],
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Run a whole DenseBlock. Entry i of each list belongs to layer i with its C_i = C0 + i*G input channels.

    The block is differentiable with respect to x and the parameters. If no parameter requires a gradient, the backward
    pass computes the gradient of x alone. Higher derivatives and function transforms run through the reference.

    Args:
        x: Floating-point maps `[N, C0, T, F]`.
        bn_weight: L scales `[C_i]`. All parameters have the dtype of x or, for float16 and bfloat16 x, float32.
        bn_bias: L shifts `[C_i]`.
        running_mean: L running means `[C_i]`; updated in place in training, as nn.BatchNorm2d does.
        running_var: L running variances `[C_i]`; updated in place in training.
        conv_weight: L kernels `[G, C_i, 3, 3]`.
        training: Normalise by the statistics of the batch (True) or by the running statistics (False).
        momentum: Weight of the batch in the running statistics.
        eps: Added to the variance.

    Returns:
        Maps `[N, C0 + L*G, T, F]` in the dtype of x, channels_last in memory, with x first.

    Raises:
        ValueError: If a tensor has the wrong shape or device, x has no maps of at least 1 x 1, the lists are empty or
            differ in length, or in training x has fewer than two values per channel.
        TypeError: If a tensor has the wrong dtype.

    Example:
        >>> import torch
        >>> from fastser_kernels import dense_block
        >>> sizes = [8, 12]  # input channels of two layers with growth rate 4
        >>> ones, zeros = [torch.ones(C) for C in sizes], [torch.zeros(C) for C in sizes]
        >>> kernels, x = [torch.randn(4, C, 3, 3) for C in sizes], torch.randn(2, 8, 6, 10)
        >>> dense_block(x, ones, zeros, zeros, ones, kernels, training=False, momentum=0.1, eps=1e-5).shape
        torch.Size([2, 16, 6, 10])
    """
    _check(x, bn_weight, bn_bias, running_mean, running_var, conv_weight)
    if training:
        check_values_per_channel(x)
    if not has_kernel("dense_block", x):
        return reference.dense_block(
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
    running = [] if training else [*running_mean, *running_var]
    maps, mean, var = _DenseBlock.apply(x, training, eps, *bn_weight, *bn_bias, *running, *conv_weight)
    if training:
        count = x.numel() // x.shape[1]
        batch_statistics.update_running(running_mean, running_var, mean, var, count, momentum)
    return changeable(maps)


def _check(
    x: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: list[Tensor],
    running_var: list[Tensor],
    conv_weight: list[Tensor],
) -> None:
    check_shape("x", x, ["N", "C", "T", "F"])
    check_floating("x", x)
    if 0 in x.shape[1:]:
        raise ValueError(f"x must hold maps of at least 1 x 1, got {list(x.shape)}")
    if not conv_weight:
        raise ValueError("conv_weight must hold at least one kernel")
    check_shape("conv_weight[0]", conv_weight[0], ["G", x.shape[1], 3, 3], of=x)
    growth_rate = conv_weight[0].shape[0]
    vectors = {"bn_weight": bn_weight, "bn_bias": bn_bias, "running_mean": running_mean, "running_var": running_var}
    for name, tensors in vectors.items():
        check_number(name, tensors, len(conv_weight), of="conv_weight")
    for name, tensors in (vectors | {"conv_weight": conv_weight}).items():
        for i, tensor in enumerate(tensors):
            channels = x.shape[1] + i * growth_rate
            shape = (growth_rate, channels, 3, 3) if name == "conv_weight" else (channels,)
            check_parameter(f"{name}[{i}]", tensor, x, shape)
