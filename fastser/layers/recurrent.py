"""LSTM layer."""

import math

import torch
from fastser_kernels import lstm
from fastser_kernels.checks import check_positive
from torch import Tensor, nn

from fastser.runtime.autocast import in_autocast_dtype


class LSTM(nn.Module):
    """LSTM layer, batch first, with a zero initial state.

    Parameters, names and initialisation are those of `nn.LSTM`. In contrast to `nn.LSTM`, this layer compiles with
    `fullgraph=True` and computes gradients in eval mode on every device.

    Args:
        input_size: Number of input features I.
        hidden_size: Number of hidden units H.
        bidirectional: Append the states of a second direction, which runs from the last step to the first.

    Shape:
        `[N, T, I]` -> `[N, T, H]`, or `[N, T, 2H]` bidirectional.

    Raises:
        ValueError: If `input_size` or `hidden_size` is below 1.

    Source: Latif et al. 2020, sections 3.2 and 4.4; Hochreiter and Schmidhuber 1997.

    Example:
        >>> import torch
        >>> layer = LSTM(input_size=6, hidden_size=5, bidirectional=True)
        >>> layer(torch.randn(3, 7, 6)).shape
        torch.Size([3, 7, 10])
        >>> layer.last(torch.randn(3, 7, 6)).shape
        torch.Size([3, 10])
    """

    def __init__(self, input_size: int, hidden_size: int, bidirectional: bool = False) -> None:
        super().__init__()
        check_positive(input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bidirectional = bidirectional
        self._suffixes = ("_l0", "_l0_reverse") if bidirectional else ("_l0",)
        bound = 1 / math.sqrt(hidden_size)
        for suffix in self._suffixes:
            sizes = {"weight_ih": [input_size], "weight_hh": [hidden_size], "bias_ih": [], "bias_hh": []}
            for name, columns in sizes.items():
                value = torch.empty(4 * hidden_size, *columns).uniform_(-bound, bound)
                self.register_parameter(name + suffix, nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states of all steps of `x` `[N, T, I]`: `[N, T, H]`, or `[N, T, 2H]` bidirectional."""
        x = in_autocast_dtype(x)
        directions = [
            lstm(
                x,
                getattr(self, f"weight_ih{suffix}"),
                getattr(self, f"weight_hh{suffix}"),
                getattr(self, f"bias_ih{suffix}"),
                getattr(self, f"bias_hh{suffix}"),
                reverse=suffix.endswith("_reverse"),
            )
            for suffix in self._suffixes
        ]
        return torch.cat(directions, dim=2) if self.bidirectional else directions[0]

    def last(self, x: Tensor) -> Tensor:
        """Return the state of each direction after its last step: `[N, H]`, or `[N, 2H]` bidirectional."""
        hidden: Tensor = self(x)
        if not self.bidirectional:
            return hidden[:, -1]
        return torch.cat([hidden[:, -1, : self.hidden_size], hidden[:, 0, self.hidden_size :]], dim=1)

    def extra_repr(self) -> str:
        """Return the constructor arguments."""
        return f"{self.input_size}, {self.hidden_size}, bidirectional={self.bidirectional}"
