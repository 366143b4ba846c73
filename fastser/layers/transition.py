"""Transition between two dense blocks."""

import torch.nn.functional as F
from fastser_kernels import transition
from fastser_kernels.checks import check_positive
from torch import Tensor, nn

from fastser.runtime import inner_modules
from fastser.runtime.autocast import in_autocast_dtype


class Transition(nn.Module):
    """Transition layer: BN, ReLU, 1x1 convolution and 2x2 average pooling.

    Args:
        in_channels: Number of input channels C.
        out_channels: Number of output channels D.

    Shape:
        `[N, C, T, F]` -> `[N, D, T//2, F//2]`, channels_last in memory.

    Raises:
        ValueError: If an argument is below 1.

    Source: Latif et al. 2020, sections 3.1 and 4.4; Huang et al. 2017.

    Example:
        >>> import torch
        >>> Transition(in_channels=10, out_channels=5)(torch.randn(2, 10, 16, 8)).shape
        torch.Size([2, 5, 8, 4])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, out_channels=out_channels)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed channels of `x` `[N, C, T, F]` at half the size, `[N, D, T//2, F//2]`."""
        x = in_autocast_dtype(x)
        parts = inner_modules.plain_transition(self)
        if parts is None:
            mixed = self.conv(F.relu(inner_modules.normalised(self.norm, x)))
            return F.avg_pool2d(mixed, 2)
        norm, kernel = parts
        training, momentum, eps = norm.settings
        if training:
            norm.num_batches_tracked.add_(1)
        return transition(
            x,
            norm.weight,
            norm.bias,
            norm.running_mean,
            norm.running_var,
            kernel,
            training=training,
            momentum=momentum,
            eps=eps,
        )

    def extra_repr(self) -> str:
        """Return the constructor arguments."""
        return f"in_channels={self.in_channels}, out_channels={self.out_channels}"
