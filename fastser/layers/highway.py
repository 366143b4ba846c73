"""Highway network."""

import torch
import torch.nn.functional as F
from fastser_kernels import highway
from fastser_kernels.checks import check_positive
from torch import Tensor, nn

from fastser.runtime import inner_modules
from fastser.runtime.autocast import in_autocast_dtype


class Highway(nn.Module):
    """Highway network with ReLU units and coupled gates.

    Args:
        units: Number of units U of each layer.
        num_layers: Number of layers.
        transform_bias: Initial bias of the gates. A negative one lets the layers carry their input at first.

    Shape:
        `[N, U]` -> `[N, U]`.

    Raises:
        ValueError: If `units` or `num_layers` is below 1.

    Source: Latif et al. 2020, section 4.4; Srivastava et al. 2015.

    Example:
        >>> import torch
        >>> Highway(units=8, num_layers=2)(torch.randn(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(self, units: int, num_layers: int, transform_bias: float = -1.0) -> None:
        super().__init__()
        check_positive(units=units, num_layers=num_layers)
        self.units = units
        self.num_layers = num_layers
        self.transform_bias = transform_bias
        self.hidden = nn.ModuleList(nn.Linear(units, units) for _ in range(num_layers))
        self.transform = nn.ModuleList(nn.Linear(units, units) for _ in range(num_layers))
        self.reset_transform_bias()

    def reset_transform_bias(self) -> None:
        """Set the biases of all gates to `transform_bias`."""
        for gate in self.transform:
            nn.init.constant_(gate.get_parameter("bias"), self.transform_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the last layer for `x` `[N, U]`, `[N, U]`."""
        x = in_autocast_dtype(x)
        parts = inner_modules.plain_highway(self.hidden, self.transform)
        if parts is None:
            for hidden, gate in zip(self.hidden, self.transform, strict=True):
                x = torch.lerp(x, F.relu(hidden(x)), torch.sigmoid(gate(x)))
            return x
        return highway(x, *parts)

    def extra_repr(self) -> str:
        """Return the constructor arguments."""
        return f"units={self.units}, num_layers={self.num_layers}, transform_bias={self.transform_bias}"
