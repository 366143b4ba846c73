"""DenseBlock: L layers, each of which appends G feature maps to all that came before it.

    x_0 = x,    x_i = [x_{i-1}, conv3x3(relu(BN_i(x_{i-1})), W_i)],    i = 1..L

Shapes: x `[N, C0, T, F]`, result `[N, C0 + L*G, T, F]`, channels_last in memory (N, T, F, C) when x is. Source: Latif
et al. 2020, section 3.1; Huang et al. 2017 (DenseNet), without bottleneck and compression.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def dense_block(
    x: Tensor,
    bn_weight: list[Tensor],
    bn_bias: list[Tensor],
    running_mean: list[Tensor],
    running_var: list[Tensor],
    conv_weight: list[Tensor],
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Run a whole DenseBlock; entry i of each list belongs to layer i and its C_i = C0 + i*G input channels.

    Args:
        x: Floating-point maps `[N, C0, T, F]`.
        bn_weight: L scales `[C_i]`.
        bn_bias: L shifts `[C_i]`.
        running_mean: L means `[C_i]`; updated in place when training, as nn.BatchNorm2d does.
        running_var: L variances `[C_i]`, likewise.
        conv_weight: L kernels `[G, C_i, 3, 3]`.
        training: Normalise by the batch's statistics (True) or by the running ones (False).
        momentum: Weight of the batch in the running statistics.
        eps: Added to the variance.

    Returns:
        `[N, C0 + L*G, T, F]`, x first.

    Raises:
        ValueError: If a tensor has the wrong shape, or the lists are empty or differ in length.
    """
    if x.dim() != 4:
        raise ValueError(f"x must be [N, C, T, F], got {list(x.shape)}")
    lists = {"bn_weight": bn_weight, "bn_bias": bn_bias, "running_mean": running_mean, "running_var": running_var}
    if not conv_weight:
        raise ValueError("conv_weight must hold at least one kernel")
    for name, tensors in lists.items():
        if len(tensors) != len(conv_weight):
            raise ValueError(f"{name} must hold {len(conv_weight)} tensors as conv_weight does, got {len(tensors)}")
    growth_rate = conv_weight[0].shape[0]
    layers = list(zip(*lists.values(), conv_weight, strict=True))
    for i, (weight, bias, mean, var, kernel) in enumerate(layers):
        channels = x.shape[1]
        if list(kernel.shape) != [growth_rate, channels, 3, 3]:
            raise ValueError(f"conv_weight[{i}] must be [{growth_rate}, {channels}, 3, 3], got {list(kernel.shape)}")
        for name, tensors in lists.items():
            if list(tensors[i].shape) != [channels]:
                raise ValueError(f"{name}[{i}] must be [{channels}], got {list(tensors[i].shape)}")
        activated = F.relu(F.batch_norm(x, mean, var, weight, bias, training, momentum, eps))
        x = torch.cat([x, F.conv2d(activated, kernel, padding=1)], dim=1)
    return x
