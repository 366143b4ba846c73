"""A DenseBlock on the CPU in ATen calls.

Every layer works through the maps in bands (several images, or some rows of one), so that the intermediate results of a
band stay in the cache: BN and ReLU before the convolution; in the backward pass both gradients of the convolution, the
mask of the ReLU and the sums. 16-bit types are storage types only: the arithmetic is float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fastser_kernels.batch_statistics import band_moments, gradient_sums, merged, moments
from fastser_kernels.registration import accumulation_dtype, cpu_eager

BAND_PIXELS = 4096
"""Pixels of a band per thread. Smaller bands fit into smaller caches, but each band costs its calls and one
rearrangement of the layer's kernel."""

SMALL = {True: 2**21, False: 2**20}
"""Values of a block's maps below which the reference is faster, in training (True) and eval (False). These functions
make many calls, and in training they compute the normalised maps a second time."""


def is_slower(x: Tensor, out_channels: int, training: bool) -> bool:
    """Return whether the reference is faster for a block on `x` `[N, C0, T, F]` with so many output channels."""
    return cpu_eager(x) and x.numel() // x.shape[1] * out_channels < SMALL[training]


def forward(
    x: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: list[Tensor],
    running_var: list[Tensor],
    conv_weight: list[Tensor],
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the maps of the whole block and, in training, mean and biased variance of all maps that a layer reads."""
    (n, channels, t, f), growth_rate, exact = x.shape, conv_weight[0].shape[0], accumulation_dtype(x)
    read = channels + (len(conv_weight) - 1) * growth_rate
    shape = n, read + growth_rate, t, f
    maps = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    mean, var = (x.new_empty(read if training else 0, dtype=exact) for _ in range(2))
    scratch = x.new_empty(0, dtype=exact)
    pixels = maps.permute(0, 2, 3, 1)
    pixels[..., :channels] = x.permute(0, 2, 3, 1)
    if training:
        mean[:channels], var[:channels] = moments(x.permute(0, 2, 3, 1).to(exact))
    for i, kernel in enumerate(conv_weight):
        if training:
            average, variance = mean[:channels], var[:channels]
        else:
            average, variance = running_mean[i].to(exact), running_var[i].to(exact)
        scale, shift = _scale_shift(average, torch.rsqrt(variance + eps), bn_weight[i], bn_bias[i])
        kernel = kernel.to(exact)
        new, parts = pixels[..., channels : channels + growth_rate], []
        for images, rows in _bands(n, t, f):
            first, last = max(rows.start - 1, 0), min(rows.stop + 1, t)
            band = pixels[images, first:last, :, :channels]
            torch.addcmul(shift, band, scale, out=scratch.resize_(band.shape)).relu_()
            made = F.conv2d(scratch.permute(0, 3, 1, 2), kernel, padding=1).permute(0, 2, 3, 1)
            made = made[:, rows.start - first : rows.stop - first].to(x.dtype)
            new[images, rows] = made
            if training and channels < read:
                parts.append(band_moments(made.to(exact)))
        if parts:
            own = slice(channels, channels + growth_rate)
            mean[own], var[own] = merged(parts)
        channels += growth_rate
    return maps, mean, var


def backward(
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
    """Return the gradients of x and the parameters; `offset` and `slope` are A and B / std of the formula in op.py."""
    (n, channels, t, f), growth_rate, exact = maps.shape, conv_weight[0].shape[0], accumulation_dtype(maps)
    if grad_maps.stride(1) != 1:
        grad_maps = grad_maps.contiguous(memory_format=torch.channels_last)
    pixels, before = maps.permute(0, 2, 3, 1), grad_maps.permute(0, 2, 3, 1)
    channels -= growth_rate
    gradient = maps.new_empty((n, t, f, channels), dtype=exact)
    padded = maps.new_zeros((n, t + 2, f, growth_rate), dtype=exact)
    consumed = padded[:, 1:-1].copy_(before[..., channels:])
    offset, slope = maps.new_zeros((2, channels), dtype=exact).unbind()
    scratch, share = maps.new_empty(0, dtype=exact), 1 / max(n * t * f, 1)
    grad_weight, grad_bias, grad_kernel = [], [], []
    for i in reversed(range(len(conv_weight))):
        if training:
            average, variance = mean[:channels], var[:channels]
        else:
            average, variance = running_mean[i].to(exact), running_var[i].to(exact)
        rstd = torch.rsqrt(variance + eps)
        scale, shift = _scale_shift(average, rstd, bn_weight[i], bn_bias[i])
        kernel = conv_weight[i].to(exact).transpose(0, 1).flip(2, 3)
        sums: list[Tensor] = []
        for images, rows in _bands(n, t, f):
            band = pixels[images, rows, :, :channels]
            torch.addcmul(shift, band, scale, out=scratch.resize_(band.shape))
            around = padded[images, rows.start : rows.stop + 2].permute(0, 3, 1, 2)
            dz = F.conv2d(around, kernel, padding=(0, 1)).permute(0, 2, 3, 1)
            torch.ops.aten.threshold_backward.grad_input(dz, scratch, 0, grad_input=dz)
            total = gradient[images, rows, :, :channels]
            torch.addcmul(before[images, rows, :, :channels], dz, scale, out=total)
            if input_only and not training:
                continue
            parts = []
            if not input_only:
                activated = scratch.relu_().permute(0, 3, 1, 2)
                parts.append(_kernel_gradient(activated, around, kernel))
            parts += gradient_sums(dz, scratch.copy_(band), average, rstd)
            if sums:
                torch._foreach_add_(sums, parts)
            else:
                sums = parts
        before = gradient
        own = slice(channels - growth_rate if i else 0, channels)
        if i == 0:
            consumed = maps.new_empty((n, t, f, channels), dtype=exact)
        if training or not input_only:
            *kernel_sum, dz_xhat_sum, dz_sum = sums or _nothing(kernel)
        if training:
            offset[:channels].addcmul_(scale, dz_sum, value=share)
            slope[:channels].addcmul_(rstd.mul_(scale), dz_xhat_sum, value=share)
            torch.sub(pixels[..., own], mean[own], out=consumed)
            torch.addcmul(gradient[..., own], consumed, slope[own], value=-1, out=consumed).sub_(offset[own])
        else:
            consumed.copy_(gradient[..., own])
        if not input_only:
            grad_weight.append(dz_xhat_sum.to(bn_weight[i].dtype))
            grad_bias.append(dz_sum.to(bn_bias[i].dtype))
            grad_kernel.append(torch.empty_like(conv_weight[i]).copy_(kernel_sum[0].transpose(0, 1).flip(2, 3)))
        channels -= growth_rate
    grad_x = consumed.permute(0, 3, 1, 2).to(maps.dtype)
    return grad_x, grad_weight[::-1], grad_bias[::-1], grad_kernel[::-1]


def _bands(n: int, t: int, f: int) -> list[tuple[slice, slice]]:
    """Return the images and rows of each band."""
    pixels = torch.get_num_threads() * BAND_PIXELS
    images = max(1, pixels // (t * f))
    rows = -(-t // -(-t * f // pixels)) if images == 1 else t
    return [
        (slice(i, min(i + images, n)), slice(j, min(j + rows, t)))
        for i in range(0, n, images)
        for j in range(0, t, rows)
    ]


def _scale_shift(mean: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and shift of the normalisation as `scale * x + shift`."""
    scale = rstd * weight
    return scale, torch.addcmul(bias, mean, scale, value=-1)


def _nothing(kernel: Tensor) -> list[Tensor]:
    """Return the sums of an empty batch."""
    return [torch.zeros_like(kernel), *kernel.new_zeros(2, kernel.shape[0])]


def _kernel_gradient(grad: Tensor, maps: Tensor, kernel: Tensor) -> Tensor:
    """Return the gradient of `kernel`, where `grad` is the gradient of `conv2d(maps, kernel, padding=(0, 1))`."""
    wanted = [False, True, False]
    gradient: Tensor = torch.ops.aten.convolution_backward(
        grad, maps, kernel, None, [1, 1], [0, 1], [1, 1], False, [0, 0], 1, wanted
    )[1]
    return gradient
