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
        ValueError: If x or a kernel has the wrong shape, or the lists differ in length.
    """
    if x.dim() != 4:
        raise ValueError(f"x must be [N, C, T, F], got {list(x.shape)}")
    layers = list(zip(bn_weight, bn_bias, running_mean, running_var, conv_weight, strict=True))
    for i, (weight, bias, mean, var, kernel) in enumerate(layers):
        if list(kernel.shape[1:]) != [x.shape[1], 3, 3]:
            raise ValueError(f"conv_weight[{i}] must be [G, {x.shape[1]}, 3, 3], got {list(kernel.shape)}")
        activated = F.relu(F.batch_norm(x, mean, var, weight, bias, training, momentum, eps))
        x = torch.cat([x, F.conv2d(activated, kernel, padding=1)], dim=1)
    return x
