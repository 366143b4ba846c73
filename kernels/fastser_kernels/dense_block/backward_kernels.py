"""Triton kernels of the DenseBlock's backward pass.

From layer L to layer 1, four kernels for a layer of up to MAX_MAPS maps; D `[N, T, F, C]` is the running gradient of
the maps.

1. `correct_kernel` writes dy, the gradient of the layer's own G maps, corrected for the BatchNorms of all later layers
   (dy = D - A - B xhat), between zeros: one row and column more on every side, so that all nine taps can be read.
2. `conv_backward_kernel`: a program owns BC channels and walks over tiles of BP pixels. It unfolds the gradient, of
   which there are G maps and not C: `window` `[BP, 9 G]` is read once for two products, `window @ W` (the gradient of
   the activation; W stays in shared memory) and `window^T @ relu(z)` (the weights' gradient, which stays in registers).
   Of the tile of maps it computes z, the ReLU's mask and the sums over dz and dz * xhat; D is updated in place.
3. `finish_weights_kernel` adds the programs' weight gradients.
4. `finish_channels_kernel` adds the programs' sums: gradients of scale and shift, and the terms A and B of the
   correction.

Every sum is taken in a fixed order. For the last layer, and in eval, there is nothing to correct; the last layer reads
`grad_maps` itself, of any strides but along the channels, so that D needs no first copy. More than MAX_MAPS maps are
taken in groups, each with kernels 2 and 3 of its own: everything above is linear in dy. fp32 operands of three tf32
products do not fit in the registers beside each other, so there the two products are two launches of kernel 2. Where
only the gradient of x is asked for, kernel 3 is left out, and in eval kernel 4 too.

Bytes per pixel and layer from memory: 3 C_i (maps, D read and written) + 4 G (dy) values; from the L2 cache
3 C_i + ceil(C_i / BC) * 9 G.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import dot, fp32_precision, launch
from fastser_kernels.moments_kernels import copy_maps, unit

BOTH_PRODUCTS = {2: {"BP": 64, "BC": 32, "num_warps": 8, "num_stages": 2}}
INPUT_PRODUCT = BOTH_PRODUCTS | {4: {"BP": 16, "BC": 32, "num_warps": 8, "num_stages": 2}}
WEIGHT_PRODUCT = {4: {"BP": 16, "BC": 32, "num_warps": 8, "num_stages": 2}}
"""Configurations of `conv_backward_kernel` by bytes of an element, for what it computes."""

MAX_MAPS = 24
"""Of one group: nine taps of it fit into 256 columns."""

PROGRAMS = 264
"""Of `conv_backward_kernel`, two for each of the 132 multiprocessors of a large GPU."""

CORRECTED = {"BP": 64, "BC": 32}
ADDED_CHANNELS = {"BP": 64, "BC": 8}
ADDED_WEIGHTS = {"BP": 32, "BE": 128}

SIZES = ("pixels", "T", "F", "C", "G", "maps_f", "source_n", "source_t", "source_f", "target_f")
"""No binary for each divisibility of these: where it matters it is known from UNIT."""


@triton.jit(do_not_specialize=(*SIZES, "positions", "correction_row", "border"))
def correct_kernel(
    source_ptr, maps_ptr, mean_ptr, var_ptr, correction_ptr, target_ptr, eps, positions,
    T, F, C, maps_f, source_n, source_t, source_f, target_f, correction_row, border,
    UNIT: tl.constexpr, CORRECT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write source - A - B xhat, with `border` zeros around each map; C and strides are given in UNITs."""
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    has_channel = c < C * UNIT
    position = tl.program_id(0) * BP + tl.arange(0, BP)
    f = position % (F + 2 * border) - border
    row = position // (F + 2 * border)
    t = row % (T + 2 * border) - border
    n = (row // (T + 2 * border)).to(tl.int64)
    inside = (position < positions) & (t >= 0) & (t < T) & (f >= 0) & (f < F)
    valid = inside[:, None] & has_channel[None, :]
    at = (n * source_n + t.to(tl.int64) * source_t + f.to(tl.int64) * source_f) * UNIT
    gradient = tl.load(source_ptr + at[:, None] + c[None, :], mask=valid, other=0.0).to(tl.float32)
    if CORRECT:
        at = ((n * T + t) * F + f) * (maps_f * UNIT)
        x = tl.load(maps_ptr + at[:, None] + c[None, :], mask=valid, other=0.0).to(tl.float32)
        mean = tl.load(mean_ptr + c, mask=has_channel, other=0.0)
        rstd = tl.rsqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0) + eps)
        a = tl.load(correction_ptr + c, mask=has_channel, other=0.0)
        b = tl.load(correction_ptr + correction_row + c, mask=has_channel, other=0.0)
        gradient -= a[None, :] + (b * rstd)[None, :] * (x - mean[None, :])
    gradient = tl.where(inside[:, None], gradient, 0.0).to(target_ptr.dtype.element_ty)
    at = position.to(tl.int64) * (target_f * UNIT)
    written = (position < positions)[:, None] & has_channel[None, :]
    tl.store(target_ptr + at[:, None] + c[None, :], gradient, mask=written)


@triton.jit(do_not_specialize=(*SIZES, "steps", "first_map", "first_program"))
def conv_backward_kernel(
    maps_ptr, source_ptr, target_ptr, dy_ptr, weight_ptr, bn_weight_ptr, bn_bias_ptr, mean_ptr, var_ptr,
    sums_ptr, partial_ptr, eps, pixels, T, F, C, G, maps_f, source_n, source_t, source_f, target_f,
    steps, first_map, first_program,
    UNIT: tl.constexpr, GROUP: tl.constexpr, COLUMNS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
    INPUT: tl.constexpr, SUMS: tl.constexpr, WEIGHTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """C, G, first_map and strides are given in UNITs; weights lie as `[G, 3, 3, C]`.

    A column is a tap and one of the GROUP maps from `first_map` on.
    """
    C *= UNIT
    G *= UNIT
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    has_channel = c < C
    mean = tl.load(mean_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    rstd = tl.rsqrt(tl.load(var_ptr + c, mask=has_channel, other=1.0).to(tl.float32) + eps)
    scale = tl.load(bn_weight_ptr + c, mask=has_channel, other=0.0).to(tl.float32) * rstd
    bias = tl.load(bn_bias_ptr + c, mask=has_channel, other=0.0).to(tl.float32)
    j = tl.arange(0, COLUMNS)
    tap, g = j // GROUP, first_map * UNIT + j % GROUP
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


@triton.jit(do_not_specialize=("pixels", "P", "C", "correction_row"))
def finish_channels_kernel(
    sums_ptr, bn_weight_ptr, var_ptr, grad_bn_weight_ptr, grad_bn_bias_ptr, correction_ptr, eps,
    pixels, P, C, correction_row,
    UNIT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Add `sums` `[P, 2, C]`; C is given in UNITs."""
    C *= UNIT
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


@triton.jit(do_not_specialize=("P", "C", "G", "group", "first_map", "grad_g", "grad_c", "grad_t", "grad_f"))
def finish_weights_kernel(
    partial_ptr, grad_ptr, P, C, G, group, first_map, grad_g, grad_c, grad_t, grad_f,
    UNIT: tl.constexpr, BP: tl.constexpr, BE: tl.constexpr,
):  # fmt: skip
    """Add `partial` `[P, 9, group, C]`; C, G and group are given in UNITs."""
    C *= UNIT
    group *= UNIT
    size = 9 * group * C
    e = tl.program_id(0) * BE + tl.arange(0, BE)
    total = tl.zeros((BP, BE), tl.float32)
    for first in range(0, P, BP):
        program = first + tl.arange(0, BP)
        inside = (program < P)[:, None] & (e < size)[None, :]
        total += tl.load(partial_ptr + program.to(tl.int64)[:, None] * size + e[None, :], mask=inside, other=0.0)
    tap, g, c = e // C // group, first_map + e // C % group, e % C
    at = g.to(tl.int64) * grad_g + c.to(tl.int64) * grad_c + tap // 3 * grad_t + tap % 3 * grad_f
    tl.store(grad_ptr + at, tl.sum(total, 0).to(grad_ptr.dtype.element_ty), mask=(e < size) & (g < G * UNIT))


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
    """Launch a block's backward pass: the kernels of every layer; when training one more, for the gradient of x.

    A `grad_maps` whose channels do not lie side by side is copied first.

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
    grads: list[list[Tensor]] = [
        [] if input_only else [torch.empty_like(p) for p in ps] for ps in (bn_weight, bn_bias, conv_weight)
    ]
    source = grad_maps
    for i in reversed(range(len(conv_weight))):
        C = C0 + i * G
        own = slice(C, C + G)
        later = i + 1 < len(conv_weight)
        _correct(source, maps, mean, var, correction, dy, own, eps, correct=training and later)
        target = d if training or i > 0 else grad_x
        statistics = (mean, var) if training else (running_mean[i], running_var[i])
        norm = (bn_weight[i], bn_bias[i], *statistics)
        weight = conv_weight[i].to(maps.dtype).contiguous(memory_format=torch.channels_last)
        grad_weight = None if input_only else grads[2][i]
        sums = _layer(maps, source, target, dy, weight, norm, eps, grad_weight, sums=training or not input_only)
        if training or not input_only:
            of_norm = (
                torch.empty(2, C, dtype=torch.float32, device=maps.device) if input_only else (grads[0][i], grads[1][i])
            )
            tensors = (sums, bn_weight[i], statistics[1], *of_norm, correction)
            sizes = (N * T * F, sums.shape[0], C // unit(C), channels)
            grid = (triton.cdiv(C, ADDED_CHANNELS["BC"]),)
            launch(finish_channels_kernel, grid, *tensors, eps, *sizes, UNIT=unit(C), **ADDED_CHANNELS)
        source = d
    if training:
        _correct(d, maps, mean, var, correction, grad_x, slice(0, C0), eps, correct=True)
    return grad_x, grads[0], grads[1], grads[2]


def _empty_maps(like: Tensor, channels: int) -> Tensor:
    N, _, T, F = like.shape
    return torch.empty(N, T, F, channels, dtype=like.dtype, device=like.device).permute(0, 3, 1, 2)


def _correct(
    source: Tensor,
    maps: Tensor,
    mean: Tensor,
    var: Tensor,
    correction: Tensor,
    target: Tensor,
    own: slice,
    eps: float,
    *,
    correct: bool,
) -> None:
    """Write the corrected gradient of the maps `own` into `target`, which may be larger by a border."""
    channels, T, F = maps.shape[1:]
    C = target.shape[1]
    border = (target.shape[2] - T) // 2
    positions = target.numel() // C
    source_n, _, source_t, source_f = source.stride()
    size = unit(C, channels, source_n, source_t, source_f)
    tensors = (source[:, own], maps[:, own], mean[own], var[own], correction[:, own], target)
    sizes = (C, channels, source_n, source_t, source_f, C)
    grid = (triton.cdiv(positions, CORRECTED["BP"]), triton.cdiv(C, CORRECTED["BC"]))
    constants = {"UNIT": size, "CORRECT": correct} | CORRECTED
    launch(
        correct_kernel, grid, *tensors, eps, positions, T, F, *(s // size for s in sizes), channels, border, **constants
    )


def _layer(
    maps: Tensor,
    source: Tensor,
    target: Tensor,
    dy: Tensor,
    weight: Tensor,
    norm: tuple[Tensor, ...],
    eps: float,
    grad_weight: Tensor | None,
    *,
    sums: bool,
) -> Tensor:
    """Update `target`, write `grad_weight` unless it is None, and return the sums `[P, 2, C]`, `[0]` if not wanted."""
    N, channels, T, F = maps.shape
    G, C = weight.shape[:2]
    pixels, itemsize = N * T * F, maps.element_size()
    size = unit(C, G, channels, target.shape[1], *(source.stride(axis) for axis in (0, 2, 3)))
    group = triton.cdiv(triton.cdiv(G, triton.cdiv(G, MAX_MAPS)), size) * size
    if grad_weight is None:
        products = [(True, False, INPUT_PRODUCT[itemsize])]
    elif itemsize in BOTH_PRODUCTS:
        products = [(True, True, BOTH_PRODUCTS[itemsize])]
    else:
        products = [(True, False, INPUT_PRODUCT[itemsize]), (False, True, WEIGHT_PRODUCT[itemsize])]
    programs, _ = _programs(pixels, C, products[0][2])
    result = torch.empty(
        (programs * triton.cdiv(G, group), 2, C) if sums else 0, dtype=torch.float32, device=maps.device
    )
    constants = {"UNIT": size, "GROUP": group, "COLUMNS": max(triton.next_power_of_2(9 * group), 16)}
    constants |= {"PRECISION": fp32_precision()}
    for first_map in range(0, G, group):
        for of_input, of_weights, configuration in products:
            programs, steps = _programs(pixels, C, configuration)
            partial = torch.empty(programs if of_weights else 0, 9, group, C, dtype=torch.float32, device=maps.device)
            tensors = (maps, source, target, dy, weight, *norm, result, partial)
            strides = (channels, source.stride(0), source.stride(2), source.stride(3), target.shape[1])
            sizes = (pixels, T, F, *(number // size for number in (C, G, *strides)))
            places = (steps, first_map // size, first_map // group * programs)
            flags = {"INPUT": of_input, "SUMS": of_input and sums, "WEIGHTS": of_weights}
            grid = (programs, triton.cdiv(C, configuration["BC"]))
            launch(conv_backward_kernel, grid, *tensors, eps, *sizes, *places, **constants, **flags, **configuration)
            if grad_weight is not None and of_weights:
                counts = (programs, C // size, G // size, group // size, first_map, *grad_weight.stride())
                blocks = (triton.cdiv(9 * group * C, ADDED_WEIGHTS["BE"]),)
                launch(finish_weights_kernel, blocks, partial, grad_weight, *counts, UNIT=size, **ADDED_WEIGHTS)
        source = target
    return result


def _programs(pixels: int, C: int, configuration: dict[str, int]) -> tuple[int, int]:
    """Programs along the pixels, and the tiles of each."""
    tiles = triton.cdiv(pixels, configuration["BP"])
    steps = max(triton.cdiv(tiles, max(PROGRAMS // triton.cdiv(C, configuration["BC"]), 1)), 1)
    return triton.cdiv(tiles, steps), steps
