"""Triton kernels for the mean and variance of each feature map.

They are accurate up to |mean| / std = 100 and more. Stage one: each program writes the count, the mean and
M2 = sum((x - mean)^2) of its pixels, from fp32 sums that are shifted by the mean of its first pixels. Stage two merges
these partial moments by Chan's formula in fp64 and in a fixed order, so every run gives the same bits. Stage one can
also write the maps that it reads to another place, so a copy gives the moments for free.

Maps are `[N, C, T, F]` of any strides. Partial moments are fp32 `[3, C, P]`, with P the number of programs. The maps
are read once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastser_kernels.launch import launch

PIXELS, CHANNELS, NUM_WARPS = 128, 32, 8
"""Tile of a step: a thread has two 16-byte loads of 16-bit values in flight."""

MAX_PROGRAMS = 1024
"""Largest number of programs along the pixels: about eight per multiprocessor of a GPU with 132."""

FINISH_PARTIALS = 1024
"""Partial moments that `finish_kernel` merges at a time."""


@triton.jit(
    do_not_specialize=("pixels", "C_units", "T", "y_n", "y_t", "y_f", "steps"), do_not_specialize_on_alignment=("x_f",)
)
def maps_kernel(
    x_ptr, y_ptr, partial_ptr, pixels, C_units, T, F, x_n, x_c, x_t, x_f, y_n, y_t, y_f, steps,
    X_UNIT: tl.constexpr, UNIT: tl.constexpr, COPY: tl.constexpr, MOMENTS: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write the partial moments of BP pixels by BC channels per step, and a copy of the maps.

    C_units and the strides of y count UNITs; x_n, x_t and x_f count X_UNITs; x_c counts values.
    """
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    has_channel = c < C_units * UNIT
    first = tl.program_id(0) * steps * BP
    shift = tl.zeros((BC,), tl.float32)
    sum1 = tl.zeros((BP, BC), tl.float32)
    sum2 = tl.zeros((BP, BC), tl.float32)
    for step in range(0, steps):
        pixel = first + step * BP + tl.arange(0, BP)
        row = pixel.to(tl.uint32) // tl.cast(F, tl.uint32)  # a signed division takes twice the instructions
        sample = row // tl.cast(T, tl.uint32)
        n, t = sample.to(tl.int64), (row - sample * T).to(tl.int64)
        f = (pixel - row * F).to(tl.int64)
        inside = (pixel < pixels)[:, None] & has_channel[None, :]
        source = (n * x_n + t * x_t + f * x_f) * X_UNIT
        x = tl.load(x_ptr + source[:, None] + c.to(tl.int64)[None, :] * x_c, mask=inside, other=0.0)
        if COPY:
            target = (n * y_n + t * y_t + f * y_f) * UNIT
            tl.store(y_ptr + target[:, None] + c[None, :], x, mask=inside)
        if MOMENTS:
            value = x.to(tl.float32)
            if step == 0:
                shift = tl.sum(value, 0) / tl.minimum(pixels - first, BP)
            value = tl.where(inside, value - shift[None, :], 0.0)
            sum1 += value
            sum2 += value * value
    if MOMENTS:
        count = tl.minimum(pixels - first, steps * BP).to(tl.float32)
        total = tl.sum(sum1, 0)
        mean = total / count
        programs = tl.num_programs(0)
        target = partial_ptr + c.to(tl.int64) * programs + tl.program_id(0)
        tl.store(target, tl.zeros_like(mean) + count, mask=has_channel)
        tl.store(target + C_units * UNIT * programs, shift + mean, mask=has_channel)
        tl.store(target + 2 * C_units * UNIT * programs, tl.sum(sum2, 0) - total * mean, mask=has_channel)


@triton.jit(do_not_specialize=("C",))
def finish_kernel(partial_ptr, mean_ptr, var_ptr, P, C, BP: tl.constexpr):
    c = tl.program_id(0).to(tl.int64)
    origin = tl.load(partial_ptr + (C + c) * P).to(tl.float64)
    count = tl.zeros((BP,), tl.float64)
    sum1 = tl.zeros((BP,), tl.float64)
    sum2 = tl.zeros((BP,), tl.float64)
    for first in range(0, P, BP):
        program = first + tl.arange(0, BP)
        inside = program < P
        weight = tl.load(partial_ptr + c * P + program, mask=inside, other=0.0).to(tl.float64)
        average = tl.load(partial_ptr + (C + c) * P + program, mask=inside, other=0.0).to(tl.float64)
        squares = tl.load(partial_ptr + (2 * C + c) * P + program, mask=inside, other=0.0).to(tl.float64)
        distance = average - origin
        count += weight
        sum1 += weight * distance
        sum2 += squares + weight * distance * distance
    total = tl.sum(count, 0)
    distance = tl.sum(sum1, 0) / total
    tl.store(mean_ptr + c, (origin + distance).to(tl.float32))
    tl.store(var_ptr + c, tl.maximum(tl.sum(sum2, 0) / total - distance * distance, 0.0).to(tl.float32))


def common_unit(*numbers: int) -> int:
    """Return 8 if it divides all these channel counts and strides (in values), else 1.

    Kernels take channel counts and strides in this unit, and the unit as a constant. So 16-byte accesses are provable
    without one binary per number of channels.
    """
    return 8 if all(number % 8 == 0 for number in numbers) else 1


def partial_moments(x: Tensor) -> Tensor:
    """Return the moments `[3, C, P]` of parts of `x` `[N, C, T, F]`: count, mean, M2."""
    return _maps(x, None, moments=True)


def copy_maps(x: Tensor, out: Tensor, *, moments: bool) -> Tensor:
    """Copy `x` of any strides into `out`, maps or a slice of maps that are channels_last in memory.

    Args:
        x: Maps `[N, C, T, F]`.
        out: Target of the same shape and dtype.
        moments: Compute the partial moments too.

    Returns:
        Partial moments of `x`, `[3, C, P]`, or `[0]` without `moments`.
    """
    return _maps(x, out, moments=moments)


def finish_moments(partial: Tensor, mean: Tensor, var: Tensor) -> None:
    """Merge `partial` `[3, C, P]` into `mean` and the biased `var`, contiguous fp32 `[C]`."""
    _, C, P = partial.shape
    launch(
        finish_kernel,
        (C,),
        partial_ptr=partial,  # [3, C, P]
        mean_ptr=mean,  # [C]
        var_ptr=var,  # [C]
        P=P,
        C=C,
        BP=FINISH_PARTIALS,
    )


def channel_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance, fp32 `[C]`, of `maps` `[N, C, T, F]` of any strides, in two launches."""
    mean, var = (torch.empty(maps.shape[1], dtype=torch.float32, device=maps.device) for _ in range(2))
    finish_moments(partial_moments(maps), mean, var)
    return mean, var


def _maps(x: Tensor, out: Tensor | None, *, moments: bool) -> Tensor:
    N, C, T, F = x.shape
    y = x if out is None else out
    x_n, x_c, x_t, x_f = x.stride()
    y_n, _, y_t, y_f = y.stride()
    x_unit, unit = common_unit(x_n, x_t, x_f), common_unit(C, y_n, y_t, y_f)
    blocks = triton.cdiv(N * T * F, PIXELS)
    steps = max(triton.cdiv(blocks, MAX_PROGRAMS), 1)
    programs = triton.cdiv(blocks, steps)
    partial = torch.empty((3, C, programs) if moments else 0, dtype=torch.float32, device=x.device)
    launch(
        maps_kernel,
        (programs, triton.cdiv(C, CHANNELS)),
        x_ptr=x,  # [N, C, T, F]
        y_ptr=y,  # [N, C, T, F], channels_last; x itself without a copy
        partial_ptr=partial,  # [3, C, programs], or [0]
        pixels=N * T * F,
        C_units=C // unit,
        T=T,
        F=F,
        x_n=x_n // x_unit,
        x_c=x_c,
        x_t=x_t // x_unit,
        x_f=x_f // x_unit,
        y_n=y_n // unit,
        y_t=y_t // unit,
        y_f=y_f // unit,
        steps=steps,
        X_UNIT=x_unit,
        UNIT=unit,
        COPY=out is not None,
        MOMENTS=moments,
        BP=PIXELS,
        BC=CHANNELS,
        num_warps=NUM_WARPS,
    )
    return partial
