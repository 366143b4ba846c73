"""What a batch's mean and variance are taken for, and how on a CPU: for each channel, over all other axes."""

from collections.abc import Sequence

import torch
from torch import Tensor

BAND = 2**18
"""Values that the second pass holds at a time: 1 MB of float32 stays in cache."""


def moments(maps: Tensor, mean: Tensor, var: Tensor) -> None:
    """Write mean and biased variance of each channel of `maps` `[N, T, F, C]` into `mean` and `var` `[C]`; two passes.

    All are of the dtype of the arithmetic, float32 or float64.
    """
    pixels = maps.flatten(0, 2)
    torch.mean(pixels, 0, out=mean)
    var.zero_()
    for band in pixels.split(max(BAND // pixels.shape[1], 1)):
        var += torch.sub(band, mean).square_().sum(0)
    var.div_(len(pixels))


def gradient_sums(dz: Tensor, maps: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of `dz * (maps - mean) * rstd` and of `dz` over all axes but the last, `[C]` each, in one pass.

    Args:
        dz: `[N, T, F, C]`, dense in that order.
        maps: Likewise.
        mean: `[C]`.
        rstd: `[C]`, dense.
    """
    grad, x, wanted = dz.permute(0, 3, 1, 2), maps.permute(0, 3, 1, 2), [False, True, True]
    _, by_xhat, plain = torch.ops.aten.native_batch_norm_backward(
        grad, x, None, None, None, mean.contiguous(), rstd, True, 0.0, wanted
    )
    return by_xhat, plain


@torch.no_grad()
def update_running(
    running_mean: Sequence[Tensor],
    running_var: Sequence[Tensor],
    mean: Tensor,
    var: Tensor,
    count: int,
    momentum: float,
) -> None:
    """Move running statistics towards those of a batch, in place, as nn.BatchNorm2d does.

    Args:
        running_mean: Means of the first channels, `[C_i <= C]` each.
        running_var: Unbiased variances, likewise.
        mean: Mean of the batch `[C]`.
        var: Its biased variance `[C]`.
        count: Values of each channel in the batch.
        momentum: Weight of the batch.
    """
    var = var * (count / (count - 1))
    pairs = [(mean, r) for r in running_mean] + [(var, r) for r in running_var]
    batch = [statistics[: r.shape[0]].to(r.dtype) for statistics, r in pairs]
    torch._foreach_lerp_([*running_mean, *running_var], batch, momentum)
