"""Dense layers and dense blocks."""

import torch
import torch.nn.functional as F
from fastser_kernels import dense_block
from fastser_kernels.checks import check_positive
from torch import Tensor, nn

from fastser.runtime import inner_modules
from fastser.runtime.autocast import in_autocast_dtype


class DenseLayer(nn.Module):
    """Dense layer: BN, ReLU and 3x3 convolution, with the new maps appended to the input.

    Args:
        in_channels: Number of input channels C.
        growth_rate: Number of new maps G.

    Shape:
        `[N, C, T, F]` -> `[N, C + G, T, F]`, channels_last in memory.

    Raises:
        ValueError: If an argument is below 1.

    Source: Latif et al. 2020, section 3.1; Huang et al. 2017.

    Example:
        >>> import torch
        >>> DenseLayer(in_channels=4, growth_rate=3)(torch.randn(2, 4, 16, 8)).shape
        torch.Size([2, 7, 16, 8])
    """

    def __init__(self, in_channels: int, growth_rate: int) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, growth_rate=growth_rate)
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, growth_rate, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` `[N, C, T, F]` with G new maps, `[N, C + G, T, F]`."""
        x = in_autocast_dtype(x)
        parts = inner_modules.plain_dense_layers([self])
        if parts is None:
            new = self.conv(F.relu(inner_modules.normalised(self.norm, x)))
            return torch.cat([x, new], dim=1)
        return _run_dense_layers(x, *parts)


class DenseBlock(nn.Module):
    """Dense block: L dense layers. It is one operation if all are plain and their norms have the same settings.

    Args:
        in_channels: Number of input channels C.
        growth_rate: Number of maps G that each layer adds.
        num_layers: Number of layers L.

    Attributes:
        out_channels: Number of output channels, C + L*G.

    Shape:
        `[N, C, T, F]` -> `[N, C + L*G, T, F]`, the input first, channels_last in memory.

    Raises:
        ValueError: If an argument is below 1.

    Source: Latif et al. 2020, sections 3.1 and 4.4; Huang et al. 2017.

    Example:
        >>> import torch
        >>> block = DenseBlock(in_channels=4, growth_rate=3, num_layers=2)
        >>> block(torch.randn(2, 4, 16, 8)).shape
        torch.Size([2, 10, 16, 8])
    """

    def __init__(self, in_channels: int, growth_rate: int, num_layers: int) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, growth_rate=growth_rate, num_layers=num_layers)
        self.in_channels = in_channels
        self.growth_rate = growth_rate
        self.num_layers = num_layers
        self.out_channels = in_channels + num_layers * growth_rate
        for i in range(num_layers):
            self.add_module(f"denselayer{i + 1}", DenseLayer(in_channels + i * growth_rate, growth_rate))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` `[N, C, T, F]` with L*G new maps, `[N, C + L*G, T, F]`."""
        x = in_autocast_dtype(x)
        layers = [getattr(self, f"denselayer{i + 1}") for i in range(self.num_layers)]
        parts = inner_modules.plain_dense_layers(layers, kind=DenseLayer)
        if parts is None:
            for layer in layers:
                x = layer(x)
            return x
        return _run_dense_layers(x, *parts)

    def extra_repr(self) -> str:
        """Return the constructor arguments."""
        return f"in_channels={self.in_channels}, growth_rate={self.growth_rate}, num_layers={self.num_layers}"


def _run_dense_layers(x: Tensor, norms: list[inner_modules.Norm], kernels: list[Tensor]) -> Tensor:
    training, momentum, eps = norms[0].settings
    if training:
        for norm in norms:
            norm.num_batches_tracked.add_(1)
    return dense_block(
        x,
        [norm.weight for norm in norms],
        [norm.bias for norm in norms],
        [norm.running_mean for norm in norms],
        [norm.running_var for norm in norms],
        kernels,
        training=training,
        momentum=momentum,
        eps=eps,
    )
