"""Batch normalisation with ReLU."""

import torch.nn.functional as F
from fastser_kernels import norm_relu
from torch import Tensor, nn

from fastser.runtime import inner_modules
from fastser.runtime.autocast import in_autocast_dtype


def normalised_relu(norm: nn.Module, x: Tensor) -> Tensor:
    """Return `relu(norm(x))` for maps `x` `[N, C, T, F]`, as one operation if `norm` is a plain nn.BatchNorm2d.

    Example:
        >>> import torch
        >>> normalised_relu(nn.BatchNorm2d(3), torch.randn(2, 3, 16, 8)).min()
        tensor(0., grad_fn=<MinBackward1>)
    """
    x = in_autocast_dtype(x)
    plain = inner_modules.plain_norm(norm)
    if plain is None or inner_modules.calls_are_observed():
        return F.relu(inner_modules.normalised(norm, x))
    training, momentum, eps = plain.settings
    if training:
        plain.num_batches_tracked.add_(1)
    return norm_relu(
        x,
        plain.weight,
        plain.bias,
        plain.running_mean,
        plain.running_var,
        training=training,
        momentum=momentum,
        eps=eps,
    )


class FusedSequential(nn.Sequential):
    """nn.Sequential that runs each pair of nn.BatchNorm2d and nn.ReLU as one operation, if both are plain.

    Shape:
        That of the modules inside. The result of a pair is channels_last in memory.

    Example:
        >>> import torch
        >>> trunk = FusedSequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> trunk(torch.randn(2, 1, 16, 8)).shape
        torch.Size([2, 8, 14, 6])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the result of all modules, one after another."""
        modules = list(self)
        fused = False
        for module, following in zip(modules, [*modules[1:], None], strict=True):
            if fused:  # this ReLU ran with the norm before it
                fused = False
                continue
            fused = inner_modules.plain_norm_relu(module, following)
            x = normalised_relu(module, x) if fused else module(x)
        return x
