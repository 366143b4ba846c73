"""Triton kernels of the DenseBlock's backward pass.

From layer L to layer 1, these kernels run for a layer. D `[N, T, F, C]` is the running gradient of the maps.

1. `correct_kernel` (correction_kernels.py) writes dy, the gradient of the layer's own G maps, corrected for the
   BatchNorms of all later layers (dy = D - A - B xhat), with borders of zeros that let all nine taps be read. More than
   MAX_MAPS maps are split into groups, which lie one after another.
2. In 16-bit types, `conv_backward_kernel` (weight_gradient_kernels.py) updates D in place and computes the gradient of
   the weights in the same pass over the maps. It is launched once per group, because everything is linear in dy.
   fp32 operands of three tf32 products for two products do not fit into the registers beside each other, so in fp32
   `input_gradient_kernel` (input_gradient_kernels.py) updates D first. It alone runs if only the gradient of x is
   needed.
3. `finish_weights_kernel` adds the weight gradients of the programs.
4. `finish_channels_kernel` adds the sums of the programs: gradients of scale and shift, and the terms A and B of the
   correction. In eval mode it is left out if only the gradient of x is needed.

Every sum has a fixed order. The last layer, and every layer in eval mode, needs no correction. The last layer reads
`grad_maps` itself, whose strides are free except along the channels, so D needs no first copy.

Values per pixel and layer: from memory 3 C_i (maps, D read and written) + 4 G (dy); from the L2 cache
3 C_i + ceil(C_i / BC) * 9 G.
"""

import torch
import triton
from torch import Tensor

from fastser_kernels.chips import chip_of
from fastser_kernels.dense_block.correction_kernels import finish_channels, write_corrected
from fastser_kernels.dense_block.forward_kernels import Norm
from fastser_kernels.dense_block.input_gradient_kernels import add_input_gradient, input_tiling
from fastser_kernels.dense_block.weight_gradient_kernels import weight_tiling, write_weight_gradient
from fastser_kernels.moments_kernels import copy_maps

MAX_MAPS = 24
"""Largest number of maps of one group: nine taps of 24 maps fit into 256 columns."""


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
    """Launch the backward pass of a block: the kernels of every layer and, in training, one more for the gradient of x.

    A `grad_maps` whose channels are not adjacent in memory, or whose rows are too far apart, is copied first.

    Returns:
        The gradient of x `[N, C0, T, F]`, channels_last, and those of bn_weight, bn_bias and conv_weight in their
        dtypes and strides; these lists are empty if `input_only`.
    """
    bn_weight, bn_bias, running_mean, running_var = (
        [vector.contiguous() for vector in vectors] for vectors in (bn_weight, bn_bias, running_mean, running_var)
    )
    N, channels, T, F = maps.shape
    G, C0 = conv_weight[0].shape[:2]
    maps = maps.contiguous(memory_format=torch.channels_last)
    if _readable(grad_maps):
        d = _empty_maps(maps, channels - G)
    else:
        d = _empty_maps(maps, channels)
        copy_maps(grad_maps, d, moments=False)
        grad_maps = d
    grad_x = _empty_maps(maps, C0)
    dy = _empty_gradient(maps, G)
    correction = torch.zeros(2, channels, dtype=torch.float32, device=maps.device)
    grad_weight, grad_bias, grad_conv = (
        [] if input_only else [torch.empty_like(p) for p in parameters]
        for parameters in (bn_weight, bn_bias, conv_weight)
    )
    source = grad_maps
    for i in reversed(range(len(conv_weight))):
        C = C0 + i * G
        later = i + 1 < len(conv_weight)
        own = slice(C, C + G)
        write_corrected(source, maps, mean, var, correction, dy, own, eps, correct=training and later, border=True)
        target = d if training or i > 0 else grad_x
        layer_mean, layer_var = (mean, var) if training else (running_mean[i], running_var[i])
        norm = Norm(bn_weight[i], bn_bias[i], layer_mean, layer_var)
        conv = None if input_only else grad_conv[i]
        sums = _layer(maps, source, target, dy, conv_weight[i], norm, eps, conv, sums=training or not input_only)
        if training or not input_only:
            vectors = None if input_only else (grad_weight[i], grad_bias[i])
            finish_channels(sums, norm, correction, vectors, eps, N * T * F)
        source = d
    if training:
        pixels = grad_x.permute(0, 2, 3, 1).view(1, N * T * F, C0)
        write_corrected(d, maps, mean, var, correction, pixels, slice(0, C0), eps, correct=True, border=False)
    return grad_x, grad_weight, grad_bias, grad_conv


def _readable(maps: Tensor) -> bool:
    """Return whether the kernels can read maps of these strides."""
    stride_n, stride_c, stride_t, stride_f = maps.stride()
    boxes = input_tiling(maps), weight_tiling(maps)
    reach = max(box.reach(maps.shape[3], stride_n, stride_t, stride_f) for box in boxes) + maps.shape[1]
    return stride_c == 1 and reach < 2**31


def _empty_maps(like: Tensor, channels: int) -> Tensor:
    N, _, T, F = like.shape
    return torch.empty(N, T, F, channels, dtype=like.dtype, device=like.device).permute(0, 3, 1, 2)


def _empty_gradient(maps: Tensor, G: int) -> Tensor:
    """Return the uninitialised gradient of G maps with its borders, `[groups, positions, maps of a group]`."""
    _, _, T, F = maps.shape
    group = triton.cdiv(G, triton.cdiv(G, MAX_MAPS))
    if G % 8 == 0:
        group = triton.cdiv(group, 8) * 8
    positions = max(box.positions(T, F) for box in (input_tiling(maps), weight_tiling(maps)))
    return torch.empty(triton.cdiv(G, group), positions, group, dtype=maps.dtype, device=maps.device)


def _layer(
    maps: Tensor,
    source: Tensor,
    target: Tensor,
    dy: Tensor,
    weight: Tensor,
    norm: Norm,
    eps: float,
    grad_weight: Tensor | None,
    *,
    sums: bool,
) -> Tensor:
    """Update `target`, write `grad_weight` if there is one, return the sums `[P, 2, C]`, or `[0]` without `sums`."""
    if grad_weight is None:
        return add_input_gradient(maps, source, target, dy, weight, norm, eps, sums=sums)
    packed = weight.to(maps.dtype).contiguous(memory_format=torch.channels_last)
    programs = chip_of(maps.device).multiprocessors  # one fills the registers
    arguments = maps, source, target, dy, packed, norm, eps, grad_weight, programs
    if maps.element_size() == 2:
        return write_weight_gradient(*arguments, of_input=True, sums=sums)
    result = add_input_gradient(maps, source, target, dy, weight, norm, eps, sums=sums)
    write_weight_gradient(*arguments, of_input=False, sums=False)
    return result
