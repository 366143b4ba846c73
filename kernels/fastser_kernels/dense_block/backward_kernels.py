"""Triton kernels of the DenseBlock's backward pass.

From layer L to layer 1, four kernels run for a layer of up to MAX_MAPS new maps. D `[N, T, F, C]` is the running
gradient of the maps.

1. `correct_kernel` (correction_kernels.py) writes dy, the gradient of the layer's own G maps, corrected for the
   BatchNorms of all later layers (dy = D - A - B xhat). A border of zeros, one row and column on every side, lets all
   nine taps be read.
2. `conv_backward_kernel`: a program owns BC channels and walks over tiles of BP pixels. It unfolds the gradient,
   because that has G maps and not C. `window` `[BP, 9 G]` is read once for two products: `window @ W` (the gradient of
   the activation; W stays in shared memory) and `window^T @ relu(z)` (the gradient of the weights, which stays in
   registers). From the tile of maps the kernel computes z, the mask of the ReLU and the sums of dz and dz * xhat. It
   updates D in place.
3. `finish_weights_kernel` adds the weight gradients of the programs.
4. `finish_channels_kernel` adds the sums of the programs: gradients of scale and shift, and the terms A and B of the
   correction.

Every sum has a fixed order. The last layer, and every layer in eval mode, needs no correction. The last layer reads
`grad_maps` itself, whose strides are free except along the channels, so D needs no first copy. More than MAX_MAPS new
maps are split into groups, each with its own launches of kernels 2 and 3, because everything above is linear in dy.
fp32 operands of three tf32 products do not fit into the registers beside each other, so kernel 2 is launched once for
each of the two products. If only the gradient of x is needed, kernel 3 is left out, and in eval mode kernel 4 too.

Values per pixel and layer: from memory 3 C_i (maps, D read and written) + 4 G (dy); from the L2 cache
3 C_i + ceil(C_i / BC) * 9 G.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.chips import resident_programs
from fastser_kernels.dense_block.correction_kernels import write_corrected
from fastser_kernels.dense_block.forward_kernels import Norm
from fastser_kernels.launch import dot, fp32_precision, launch
from fastser_kernels.moments_kernels import common_unit, copy_maps

BOTH_PRODUCTS = {2: {"BP": 64, "BC": 32, "num_warps": 8, "num_stages": 2}}
INPUT_PRODUCT = BOTH_PRODUCTS | {4: {"BP": 16, "BC": 32, "num_warps": 8, "num_stages": 2}}
WEIGHT_PRODUCT = {4: {"BP": 16, "BC": 32, "num_warps": 8, "num_stages": 2}}
"""Configurations of `conv_backward_kernel` by bytes of an element, for each set of products that it computes."""

MAX_MAPS = 24
"""Largest number of maps of one group: nine taps of 24 maps fit into 256 columns."""

ADDED_CHANNELS = {"BP": 64, "BC": 8}
ADDED_WEIGHTS = {"BP": 32, "BE": 128}

SIZES = ("pixels", "T", "F", "C_units", "G_units", "maps_f", "source_n", "source_t", "source_f", "target_f")
"""Arguments without a binary for each divisibility: UNIT tells the divisibility that matters."""


@triton.jit(do_not_specialize=(*SIZES, "steps", "first_map_unit", "first_program"))
def conv_backward_kernel(
    maps_ptr, source_ptr, target_ptr, dy_ptr, weight_ptr, bn_weight_ptr, bn_bias_ptr, mean_ptr, var_ptr,
    sums_ptr, partial_ptr, eps, pixels, T, F, C_units, G_units, maps_f, source_n, source_t, source_f, target_f,
    steps, first_map_unit, first_program,
    UNIT: tl.constexpr, GROUP: tl.constexpr, COLUMNS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    INPUT: tl.constexpr, SUMS: tl.constexpr, WEIGHTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the gradient of one group of maps to D, and write its sums and weight gradients.

    C_units, G_units, first_map_unit and the strides count UNITs. The weights are `[G, 3, 3, C]` in memory. A column is
    a tap and one of the GROUP maps from first_map_unit on.
    """
    C = C_units * UNIT
    G = G_units * UNIT
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    has_channel = c < C
    mean = tl.load(mean_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    rstd = tl.rsqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0).to(tl.float32) + eps)
    scale = tl.load(bn_weight_ptr + c, mask=has_channel, other=0.0).to(tl.float32) * rstd
    bias = tl.load(bn_bias_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    j = tl.arange(0, COLUMNS)
    tap, g = j // GROUP, first_map_unit * UNIT + j % GROUP
    has_column = (tap < 9) & (g < G)
    at_column = ((2 - tap // 3) * (F + 2) + 2 - tap % 3) * G + g
    if INPUT:
        at_weight = weight_ptr + ((g * 9 + tap) * C)[:, None] + c[None, :]
        weight = tl.load(at_weight, mask=has_column[:, None] & has_channel[None, :], other=0.0)
    sum1 = tl.zeros((BC,), tl.float32)
    sum2 = tl.zeros((BC,), tl.float32)
    grad = tl.zeros((COLUMNS, BC), tl.float32)
    for step in tl.range(0, steps):
        pixel = (tl.program_id(0) * steps + step) * BP + tl.arange(0, BP)
        f, t, n = pixel % F, pixel // F % T, pixel // F // T
        inside = pixel < pixels
        valid = inside[:, None] & has_channel[None, :]
        if INPUT:
            at = (n.to(tl.int64) * source_n + t.to(tl.int64) * source_t + f.to(tl.int64) * source_f) * UNIT
            gradient = tl.load(source_ptr + at[:, None] + c[None, :], mask=valid, other=0.0).to(tl.float32)
        at = ((n * (T + 2) + t) * (F + 2) + f).to(tl.int64) * G
        window = tl.load(
            dy_ptr + at[:, None] + at_column[None, :], mask=inside[:, None] & has_column[None, :], other=0.0
        )
        if INPUT:
            dh = dot(window, weight, tl.zeros((BP, BC), tl.float32), PRECISION)
        at = pixel.to(tl.int64) * (maps_f * UNIT)
        x = tl.load(maps_ptr + at[:, None] + c[None, :], mask=valid, other=0.0).to(tl.float32)
        z = (x - mean[None, :]) * scale[None, :] + bias[None, :]
        if INPUT:
            dz = tl.where(z > 0, dh, 0.0)
            gradient += dz * scale[None, :]
            at = pixel.to(tl.int64) * (target_f * UNIT)
            tl.store(target_ptr + at[:, None] + c[None, :], gradient.to(target_ptr.dtype.element_ty), mask=valid)
            if SUMS:
                sum1 += tl.sum(dz, 0)
                sum2 += tl.sum(dz * (x - mean[None, :]), 0)
        if WEIGHTS:
            grad = dot(tl.trans(window), tl.maximum(z, 0.0).to(window.dtype), grad, PRECISION)
    if SUMS:
        target = sums_ptr + (first_program + tl.program_id(0)).to(tl.int64) * 2 * C + c
        tl.store(target, sum1, mask=has_channel)
        tl.store(target + C, sum2 * rstd, mask=has_channel)
    if WEIGHTS:
        row = (tl.program_id(0).to(tl.int64) * (9 * GROUP) + j) * C
        tl.store(partial_ptr + row[:, None] + c[None, :], grad, mask=has_column[:, None] & has_channel[None, :])


@triton.jit(do_not_specialize=("pixels", "P", "C_units", "correction_row"))
def finish_channels_kernel(
    sums_ptr, bn_weight_ptr, var_ptr, grad_bn_weight_ptr, grad_bn_bias_ptr, correction_ptr, eps,
    pixels, P, C_units, correction_row,
    UNIT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Add `sums` `[P, 2, C]` over P; C_units counts UNITs."""
    C = C_units * UNIT
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    has_channel = c < C
    sum1 = tl.zeros((BP, BC), tl.float64)
    sum2 = tl.zeros((BP, BC), tl.float64)
    for first in range(0, P, BP):
        program = first + tl.arange(0, BP)
        at = sums_ptr + program.to(tl.int64)[:, None] * 2 * C + c[None, :]
        inside = (program < P)[:, None] & has_channel[None, :]
        sum1 += tl.load(at, mask=inside, other=0.0).to(tl.float64)
        sum2 += tl.load(at + C, mask=inside, other=0.0).to(tl.float64)
    grad_bias = tl.sum(sum1, 0).to(tl.float32)
    grad_weight = tl.sum(sum2, 0).to(tl.float32)
    tl.store(grad_bn_bias_ptr + c, grad_bias.to(grad_bn_bias_ptr.dtype.element_ty), mask=has_channel)
    tl.store(grad_bn_weight_ptr + c, grad_weight.to(grad_bn_weight_ptr.dtype.element_ty), mask=has_channel)
    rstd = tl.rsqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0).to(tl.float32) + eps)
    scale = tl.load(bn_weight_ptr + c, mask=has_channel, other=0.0).to(tl.float32) * rstd / pixels
    a = correction_ptr + c
    b = a + correction_row
    tl.store(a, tl.load(a, mask=has_channel, other=0.0) + scale * grad_bias, mask=has_channel)
    tl.store(b, tl.load(b, mask=has_channel, other=0.0) + scale * grad_weight, mask=has_channel)


@triton.jit(
    do_not_specialize=("P", "C_units", "G_units", "group_units", "first_map", "grad_g", "grad_c", "grad_t", "grad_f")
)
def finish_weights_kernel(
    partial_ptr, grad_ptr, P, C_units, G_units, group_units, first_map, grad_g, grad_c, grad_t, grad_f,
    UNIT: tl.constexpr, BP: tl.constexpr, BE: tl.constexpr,
):  # fmt: skip
    """Add `partial` `[P, 9, group, C]` over P. C_units, G_units and group_units count UNITs, first_map counts maps."""
    C = C_units * UNIT
    group = group_units * UNIT
    values = 9 * group * C
    e = tl.program_id(0) * BE + tl.arange(0, BE)
    total = tl.zeros((BP, BE), tl.float32)
    for first in range(0, P, BP):
        program = first + tl.arange(0, BP)
        inside = (program < P)[:, None] & (e < values)[None, :]
        total += tl.load(partial_ptr + program.to(tl.int64)[:, None] * values + e[None, :], mask=inside, other=0.0)
    tap, g, c = e // C // group, first_map + e // C % group, e % C
    at = g.to(tl.int64) * grad_g + c.to(tl.int64) * grad_c + tap // 3 * grad_t + tap % 3 * grad_f
    tl.store(grad_ptr + at, tl.sum(total, 0).to(grad_ptr.dtype.element_ty), mask=(e < values) & (g < G_units * UNIT))


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

    A `grad_maps` whose channels are not adjacent in memory is copied first.

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
    if grad_maps.stride(1) == 1:
        d = _empty_maps(maps, channels - G)
    else:
        d = _empty_maps(maps, channels)
        copy_maps(grad_maps, d, moments=False)
        grad_maps = d
    grad_x = _empty_maps(maps, C0)
    dy = torch.empty(N, T + 2, F + 2, G, dtype=maps.dtype, device=maps.device).permute(0, 3, 1, 2)
    correction = torch.zeros(2, channels, dtype=torch.float32, device=maps.device)
    grad_weight, grad_bias, grad_conv = (
        [] if input_only else [torch.empty_like(p) for p in parameters]
        for parameters in (bn_weight, bn_bias, conv_weight)
    )
    source = grad_maps
    for i in reversed(range(len(conv_weight))):
        C = C0 + i * G
        later = i + 1 < len(conv_weight)
        write_corrected(source, maps, mean, var, correction, dy, slice(C, C + G), eps, correct=training and later)
        target = d if training or i > 0 else grad_x
        layer_mean, layer_var = (mean, var) if training else (running_mean[i], running_var[i])
        norm = Norm(bn_weight[i], bn_bias[i], layer_mean, layer_var)
        weight = conv_weight[i].to(maps.dtype).contiguous(memory_format=torch.channels_last)
        conv = None if input_only else grad_conv[i]
        sums = _layer(maps, source, target, dy, weight, norm, eps, conv, sums=training or not input_only)
        if training or not input_only:
            nowhere = torch.empty(2, C, dtype=torch.float32, device=maps.device) if input_only else None
            launch(
                finish_channels_kernel,
                (triton.cdiv(C, ADDED_CHANNELS["BC"]),),
                sums_ptr=sums,  # [P, 2, C]
                bn_weight_ptr=norm.weight,  # [C]
                var_ptr=norm.var,  # [C] or more
                grad_bn_weight_ptr=grad_weight[i] if nowhere is None else nowhere[0],  # [C]
                grad_bn_bias_ptr=grad_bias[i] if nowhere is None else nowhere[1],  # [C]
                correction_ptr=correction,  # [2, channels], A and B
                eps=eps,
                pixels=N * T * F,
                P=sums.shape[0],
                C_units=C // common_unit(C),
                correction_row=channels,
                UNIT=common_unit(C),
                **ADDED_CHANNELS,
            )
        source = d
    if training:
        write_corrected(d, maps, mean, var, correction, grad_x, slice(0, C0), eps, correct=True)
    return grad_x, grad_weight, grad_bias, grad_conv


def _empty_maps(like: Tensor, channels: int) -> Tensor:
    N, _, T, F = like.shape
    return torch.empty(N, T, F, channels, dtype=like.dtype, device=like.device).permute(0, 3, 1, 2)


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
    N, channels, T, F = maps.shape
    G, C = weight.shape[:2]
    pixels, itemsize = N * T * F, maps.element_size()
    unit = common_unit(C, G, channels, target.shape[1], *(source.stride(axis) for axis in (0, 2, 3)))
    group = triton.cdiv(triton.cdiv(G, triton.cdiv(G, MAX_MAPS)), unit) * unit
    if grad_weight is None:
        products = [(True, False, INPUT_PRODUCT[itemsize])]
    elif itemsize in BOTH_PRODUCTS:
        products = [(True, True, BOTH_PRODUCTS[itemsize])]
    else:
        products = [(True, False, INPUT_PRODUCT[itemsize]), (False, True, WEIGHT_PRODUCT[itemsize])]
    _, _, first_configuration = products[0]
    programs, _ = _programs(pixels, C, first_configuration, maps.device)
    shape = (programs * triton.cdiv(G, group), 2, C) if sums else (0,)
    result = torch.empty(shape, dtype=torch.float32, device=maps.device)
    for first_map in range(0, G, group):
        for of_input, of_weights, configuration in products:
            programs, steps = _programs(pixels, C, configuration, maps.device)
            source_n, _, source_t, source_f = source.stride()
            partial = torch.empty(programs if of_weights else 0, 9, group, C, dtype=torch.float32, device=maps.device)
            launch(
                conv_backward_kernel,
                (programs, triton.cdiv(C, configuration["BC"])),
                maps_ptr=maps,  # [N, channels, T, F], channels_last
                source_ptr=source,  # [N, C or more, T, F]
                target_ptr=target,  # [N, C or more, T, F], channels_last
                dy_ptr=dy,  # [N, G, T + 2, F + 2], channels_last
                weight_ptr=weight,  # [G, C, 3, 3], channels_last
                bn_weight_ptr=norm.weight,  # [C]
                bn_bias_ptr=norm.bias,  # [C]
                mean_ptr=norm.mean,  # [C] or more
                var_ptr=norm.var,  # [C] or more
                sums_ptr=result,  # [P, 2, C], or [0]
                partial_ptr=partial,  # [programs, 9, group, C], or no programs
                eps=eps,
                pixels=pixels,
                T=T,
                F=F,
                C_units=C // unit,
                G_units=G // unit,
                maps_f=channels // unit,
                source_n=source_n // unit,
                source_t=source_t // unit,
                source_f=source_f // unit,
                target_f=target.shape[1] // unit,
                steps=steps,
                first_map_unit=first_map // unit,
                first_program=first_map // group * programs,
                UNIT=unit,
                GROUP=group,
                COLUMNS=max(triton.next_power_of_2(9 * group), 16),
                INPUT=of_input,
                SUMS=of_input and sums,
                WEIGHTS=of_weights,
                PRECISION=fp32_precision(),
                **configuration,
            )
            if grad_weight is not None and of_weights:
                grad_g, grad_c, grad_t, grad_f = grad_weight.stride()
                launch(
                    finish_weights_kernel,
                    (triton.cdiv(9 * group * C, ADDED_WEIGHTS["BE"]),),
                    partial_ptr=partial,  # [programs, 9, group, C]
                    grad_ptr=grad_weight,  # [G, C, 3, 3]
                    P=programs,
                    C_units=C // unit,
                    G_units=G // unit,
                    group_units=group // unit,
                    first_map=first_map,
                    grad_g=grad_g,
                    grad_c=grad_c,
                    grad_t=grad_t,
                    grad_f=grad_f,
                    UNIT=unit,
                    **ADDED_WEIGHTS,
                )
        source = target
    return result


def _programs(pixels: int, C: int, configuration: dict[str, int], device: torch.device) -> tuple[int, int]:
    """Return the programs along the pixels, and the tiles of each."""
    tiles = triton.cdiv(pixels, configuration["BP"])
    most = resident_programs(device) // triton.cdiv(C, configuration["BC"])
    steps = max(triton.cdiv(tiles, max(most, 1)), 1)
    return triton.cdiv(tiles, steps), steps
