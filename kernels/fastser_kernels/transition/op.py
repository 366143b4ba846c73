"""Transition between two DenseBlocks: normalise, mix the channels, halve both axes of the maps.

    y = avgpool2x2(conv1x1(relu(BN(x)), W)) = conv1x1(avgpool2x2(relu(BN(x))), W)

The second form, a quarter of the arithmetic, is what runs. Shapes: x `[N, C, T, F]`, result `[N, D, T//2, F//2]`,
channels_last in memory when x is. Source: Latif et al. 2020, sections 3.1 and 4.4.
"""

import torch.nn.functional as F
from torch import Tensor


def transition(
    x: Tensor,
    bn_weight: Tensor,
    bn_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    conv_weight: Tensor,
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Run a transition.

    Args:
        x: Floating-point maps `[N, C, T, F]`.
        bn_weight: Scale `[C]`.
        bn_bias: Shift `[C]`.
        running_mean: Mean `[C]`; updated in place when training, as nn.BatchNorm2d does.
        running_var: Variance `[C]`, likewise.
        conv_weight: Kernel `[D, C, 1, 1]`.
        training: Normalise by the batch's statistics (True) or by the running ones (False).
        momentum: Weight of the batch in the running statistics.
        eps: Added to the variance.

    Returns:
        `[N, D, T//2, F//2]`.

    Raises:
        ValueError: If a tensor has the wrong shape.
    """
    if x.dim() != 4:
        raise ValueError(f"x must be [N, C, T, F], got {list(x.shape)}")
    if list(conv_weight.shape[1:]) != [x.shape[1], 1, 1]:
        raise ValueError(f"conv_weight must be [D, {x.shape[1]}, 1, 1], got {list(conv_weight.shape)}")
    for name, vector in {
        "bn_weight": bn_weight,
        "bn_bias": bn_bias,
        "running_mean": running_mean,
        "running_var": running_var,
    }.items():
        if list(vector.shape) != [x.shape[1]]:
            raise ValueError(f"{name} must be [{x.shape[1]}], got {list(vector.shape)}")
    activated = F.relu(F.batch_norm(x, running_mean, running_var, bn_weight, bn_bias, training, momentum, eps))
    return F.conv2d(F.avg_pool2d(activated, 2), conv_weight)
