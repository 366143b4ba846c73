"""BN, ReLU and pool of the transition in ATen calls, on bands of rows that stay in the cache.

Maps are viewed as `[N, T, F, C]`, dense in that order. Other layouts and 16-bit types are converted first, the latter
to float32.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from fastser_kernels.batch_statistics import gradient_sums, moments
from fastser_kernels.registration import accumulation_dtype, cpu_eager

BAND = 2**19
"""Values of a band per thread: 2 MB of float32."""

SMALL = {True: 3 * 2**21, False: 2**21}
"""Values of the maps below which the reference is faster, in training (True) and eval (False).

Small maps stay in the cache anyway, and each call costs time.
"""


def is_slower(x: Tensor, training: bool) -> bool:
    """Return whether the reference is faster for maps `x`."""
    return cpu_eager(x) and x.numel() < SMALL[training]


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
    maps = _maps(x)
    scratch = maps.new_empty(0)
    if training:
        mean, var = batch = moments(maps)
    else:
        mean, var = _running(running_mean, running_var, maps)
        batch = maps.new_empty(0), maps.new_empty(0)
    scale = torch.rsqrt(var + eps).mul_(bn_weight)
    shift = torch.addcmul(bn_bias.to(maps.dtype), mean, scale, value=-1)
    samples, times, bins, channels = maps.shape
    shape = samples, channels, times // 2, bins // 2
    pooled = torch.empty(shape, dtype=maps.dtype, device=x.device, memory_format=torch.channels_last)
    for (band,), result in _bands([maps], pooled.permute(0, 2, 3, 1)):
        activated = torch.addcmul(shift, band, scale, out=scratch.resize_(band.shape)).relu_()
        torch.ops.aten.avg_pool2d.out(activated.permute(0, 3, 1, 2), [2, 2], out=result.permute(0, 3, 1, 2))
    return pooled.to(x.dtype), *batch


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
    maps = _maps(x)
    if not training:
        mean, var = _running(running_mean, running_var, maps)
    rstd = torch.rsqrt(var + eps)
    scale = rstd * bn_weight
    shift = torch.addcmul(bn_bias.to(maps.dtype), mean, scale, value=-1)
    quadruple = grad_pooled.permute(0, 2, 3, 1).to(maps.dtype)
    grad_x = torch.empty(x.shape, dtype=maps.dtype, device=x.device, memory_format=torch.channels_last)
    grad = grad_x.permute(0, 2, 3, 1)
    if not training and input_only:
        for (band, z), shares in _bands([maps, grad], quadruple * (scale * 0.25)):
            _spread_(torch.addcmul(shift, band, scale, out=z), shares)
        return grad_x.to(x.dtype), []

    # The first pass computes four times the gradient dz before the ReLU, and its sums. The second one turns it in place
    # into the gradient of x.
    scratch = maps.new_empty(0)
    grad_weight, grad_bias = torch.zeros_like(scale), torch.zeros_like(scale)
    for (band, dz), shares in _bands([maps, grad], quadruple):
        _spread_(torch.addcmul(shift, band, scale, out=dz), shares)
        torch._foreach_add_([grad_weight, grad_bias], gradient_sums(dz, band, mean, rstd))
    torch._foreach_mul_([grad_weight, grad_bias], 0.25)
    quarter_scale = scale * 0.25
    if training:
        per_value = scale * (-1 / (maps.numel() // maps.shape[3]))
        slope = grad_weight * rstd * per_value
        offset = (grad_bias * per_value).addcmul_(slope, mean, value=-1)
    for (band, dz), _ in _bands([maps, grad], quadruple):
        if training:
            by_statistics = torch.addcmul(offset, band, slope, out=scratch.resize_(band.shape))
            torch.addcmul(by_statistics, dz, quarter_scale, out=dz)
        else:
            dz.mul_(quarter_scale)
    parameters = [] if input_only else [grad_weight.to(bn_weight.dtype), grad_bias.to(bn_bias.dtype)]
    return grad_x.to(x.dtype), parameters


def _maps(x: Tensor) -> Tensor:
    """Return `x` as `[N, T, F, C]` in float32 or float64."""
    return x.to(accumulation_dtype(x), memory_format=torch.channels_last).permute(0, 2, 3, 1)


def _running(mean: Tensor | None, var: Tensor | None, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the running statistics in the dtype of the arithmetic; in eval mode both are given."""
    assert mean is not None
    assert var is not None
    return mean.to(maps.dtype), var.to(maps.dtype)


def _bands(maps: list[Tensor], pooled: Tensor) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Yield corresponding parts of maps of one shape and of pooled maps. An odd last row is in the last part."""
    samples, times, bins, channels = maps[0].shape
    values_per_band = torch.get_num_threads() * BAND
    if maps[0].numel() <= values_per_band:
        yield maps, pooled
        return
    last = times // 2
    step = min(last, max(1, values_per_band // (2 * bins * channels)))
    together = max(1, values_per_band // (times * bins * channels)) if step == last else 1
    for first in range(0, samples, together):
        part = slice(first, first + together)
        for row in range(0, last, step):
            end = min(row + step, last)
            rows = slice(2 * row, 2 * end if end < last else times)
            yield [values[part, rows] for values in maps], pooled[part, row:end]


def _spread_(z: Tensor, shares: Tensor) -> None:
    """Overwrite `z`: positive values get the share of their pooled value, all others zero."""
    samples, rows, bins, channels = shares.shape
    kept = z[:, : 2 * rows, : 2 * bins]
    pairs = kept.flatten(2).view(samples, rows, 2, 2 * bins * channels)
    twice = torch.cat([shares, shares], dim=3).view(samples, rows, 1, 2 * bins * channels)
    torch.ops.aten.threshold_backward.grad_input(twice.expand(pairs.shape), pairs, 0.0, grad_input=pairs)
    if kept.shape != z.shape:
        z[:, 2 * rows :] = 0.0
        z[:, :, 2 * bins :] = 0.0
