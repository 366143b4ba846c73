"""Mean and variance of each channel of a batch on a CPU, and the sums behind their gradients."""

from collections.abc import Sequence
from math import gcd

import torch
from torch import Tensor

BAND = 2**18
"""Values per thread in one pass: 1 MB of float32, about the size of a second-level cache."""

FOLD = 16
"""Number of pixels that are viewed as one pixel with FOLD times the channels.

ATen is slow where the channels do not fill whole vectors.
"""

Moments = tuple[Tensor, Tensor, Tensor]
"""Moments of R parts of some maps: number of values `[R]`, means `[R, C]` and biased variances `[R, C]`."""


def moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance `[C]` of each channel of `maps` `[N, T, F, C]`, float32 or float64."""
    pixels = maps.flatten(0, 2)
    pixels_per_band = FOLD * max(torch.get_num_threads() * BAND // (FOLD * pixels.shape[1]), 1)
    return merged([band_moments(band) for band in pixels.split(pixels_per_band)])


def band_moments(band: Tensor) -> Moments:
    """Return the moments of `band` `[..., C]`. It should fit in the cache, because there are two passes over it."""
    channels = band.shape[-1]
    folded = _folded(band)
    mean, var = torch.ops.aten.batch_norm_update_stats(folded, None, None, 0.0)
    mean, var = mean.view(-1, channels), var.view(-1, channels)
    return mean.new_full((len(mean),), folded.shape[2]), mean, var


def merged(parts: Sequence[Moments]) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance `[C]` of all parts together (Chan, Golub and LeVeque 1983)."""
    counts, means, variances = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    weights = counts / counts.sum()
    mean = weights @ means
    return mean, weights @ (means - mean).square_().add_(variances)


def gradient_sums(dz: Tensor, maps: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of `dz * (maps - mean) * rstd` and of `dz` over all axes but the last, `[C]` each, in one pass.

    Args:
        dz: Gradients `[..., C]`.
        maps: Maps of the same shape.
        mean: Mean of each channel `[C]`.
        rstd: Inverse standard deviation of each channel `[C]`.
    """
    if not maps.numel():  # ATen would divide by zero
        return torch.zeros_like(mean), torch.zeros_like(mean)
    channels = maps.shape[-1]
    grad, x, wanted = _folded(dz), _folded(maps), [False, True, True]
    mean, rstd = (statistics.repeat(x.shape[1] // channels) for statistics in (mean, rstd))
    _, by_xhat, plain = torch.ops.aten.native_batch_norm_backward(
        grad, x, None, None, None, mean, rstd, True, 0.0, wanted
    )
    return by_xhat.view(-1, channels).sum(0), plain.view(-1, channels).sum(0)


def _folded(maps: Tensor) -> Tensor:
    """Return `maps` `[..., C]` as `[1, K C, pixels / K, 1]` in channels_last order, copied unless dense."""
    pixels = maps.reshape(-1, maps.shape[-1])
    fold = gcd(len(pixels), FOLD)
    return pixels.reshape(len(pixels) // fold, -1).t()[None, :, :, None]


@torch.no_grad()
def update_running(
    running_mean: Sequence[Tensor],
    running_var: Sequence[Tensor],
    mean: Tensor,
    var: Tensor,
    count: int,
    momentum: float,
) -> None:
    """Update running statistics with those of a batch, in place, as nn.BatchNorm2d does.

    Args:
        running_mean: Running means of the first channels, `[C_i <= C]` each.
        running_var: Running unbiased variances of the same channels, `[C_i <= C]` each.
        mean: Mean of the batch `[C]`.
        var: Biased variance of the batch `[C]`.
        count: Number of values of each channel in the batch.
        momentum: Weight of the batch in the running statistics.
    """
    var = var * (count / (count - 1))
    pairs = [(mean, r) for r in running_mean] + [(var, r) for r in running_var]
    batch = [statistics[: r.shape[0]].to(r.dtype) for statistics, r in pairs]
    torch._foreach_lerp_([*running_mean, *running_var], batch, momentum)
