"""Running statistics of batch normalisation."""

from collections.abc import Sequence

import torch
from torch import Tensor


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
        mean: Mean of the batch `[C]`, without a gradient.
        var: Biased variance of the batch `[C]`, without a gradient.
        count: Number of values of each channel in the batch.
        momentum: Weight of the batch in the running statistics.
    """
    unbiased = var * (count / (count - 1))
    batch = [_first(mean, like=running) for running in running_mean]
    batch += [_first(unbiased, like=running) for running in running_var]
    torch._foreach_lerp_([*running_mean, *running_var], batch, momentum)


def _first(statistics: Tensor, like: Tensor) -> Tensor:
    """Return the first channels in the shape and dtype of another tensor, without needless calls of ATen."""
    if statistics.shape != like.shape:
        statistics = statistics[: like.shape[0]]
    return statistics if statistics.dtype == like.dtype else statistics.to(like.dtype)
