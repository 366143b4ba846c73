"""The fused operations of `fastser_kernels` as modules that drop into any model, also under `torch.compile`.

Maps are `[N, C, T, F]`. State dicts hold plain nn.BatchNorm2d, nn.Conv2d, nn.Linear and nn.LSTM names and shapes.
"""

import math

import torch
from fastser_kernels import dense_block, highway, log_spectrogram, lstm, transition
from fastser_kernels.checks import check_positive
from torch import Tensor, nn


def _in_autocast_dtype(x: Tensor) -> Tensor:
    """`x` in the dtype of the surrounding torch.autocast, if there is one: our operations are opaque to it."""
    if not torch.is_autocast_enabled(x.device.type):
        return x
    return x.to(torch.get_autocast_dtype(x.device.type))


class _BatchNorm2d(nn.BatchNorm2d):
    """Parameters and running statistics only: the operation that uses them does the arithmetic."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float


class DenseLayer(nn.Module):
    """BN, ReLU and 3x3 convolution whose result is appended to the input.

    Args:
        in_channels: C.
        growth_rate: G, the number of new feature maps.

    Shape:
        `[N, C, T, F]` -> `[N, C + G, T, F]`, channels_last in memory.

    Raises:
        ValueError: If an argument is below 1.

    Source: Latif et al. 2020, section 3.1; Huang et al. 2017.
    """

    def __init__(self, in_channels: int, growth_rate: int) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, growth_rate=growth_rate)
        self.norm = _BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, growth_rate, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Append G maps to `x` `[N, C, T, F]`."""
        return _run_dense_layers(x, [self])


class DenseBlock(nn.Module):
    """L dense layers as one operation.

    The BatchNorms of a block are trained or frozen together: the `training` flag of the first holds for all.

    Args:
        in_channels: C.
        growth_rate: G, the number of feature maps that each layer adds.
        num_layers: L.

    Attributes:
        out_channels: C + L*G.

    Shape:
        `[N, C, T, F]` -> `[N, C + L*G, T, F]`, the input first, channels_last in memory.

    Raises:
        ValueError: If an argument is below 1.

    Source: Latif et al. 2020, sections 3.1 and 4.4; Huang et al. 2017.
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
        """Append L*G maps to `x` `[N, C, T, F]`."""
        return _run_dense_layers(x, [getattr(self, f"denselayer{i + 1}") for i in range(self.num_layers)])

    def extra_repr(self) -> str:
        """Constructor arguments."""
        return f"in_channels={self.in_channels}, growth_rate={self.growth_rate}, num_layers={self.num_layers}"


def _run_dense_layers(x: Tensor, layers: list[DenseLayer]) -> Tensor:
    norms = [layer.norm for layer in layers]
    if norms[0].training:
        for norm in norms:
            norm.num_batches_tracked.add_(1)
    return dense_block(
        _in_autocast_dtype(x),
        [norm.weight for norm in norms],
        [norm.bias for norm in norms],
        [norm.running_mean for norm in norms],
        [norm.running_var for norm in norms],
        [layer.conv.weight for layer in layers],
        training=norms[0].training,
        momentum=norms[0].momentum,
        eps=norms[0].eps,
    )


class Transition(nn.Module):
    """BN, ReLU, 1x1 convolution and 2x2 average pooling.

    Args:
        in_channels: C.
        out_channels: D.

    Shape:
        `[N, C, T, F]` -> `[N, D, T//2, F//2]`, channels_last in memory.

    Raises:
        ValueError: If an argument is below 1.

    Source: Latif et al. 2020, sections 3.1 and 4.4; Huang et al. 2017.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, out_channels=out_channels)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.norm = _BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels of `x` `[N, C, T, F]` and halve both axes."""
        if self.norm.training:
            self.norm.num_batches_tracked.add_(1)
        return transition(
            _in_autocast_dtype(x),
            self.norm.weight,
            self.norm.bias,
            self.norm.running_mean,
            self.norm.running_var,
            self.conv.weight,
            training=self.norm.training,
            momentum=self.norm.momentum,
            eps=self.norm.eps,
        )

    def extra_repr(self) -> str:
        """Constructor arguments."""
        return f"in_channels={self.in_channels}, out_channels={self.out_channels}"


class Highway(nn.Module):
    """Highway network with ReLU units and coupled gates.

    Args:
        units: U.
        num_layers: Number of layers.
        transform_bias: First value of the gates' biases; below zero, the layers start by carrying their input.

    Shape:
        `[N, U]` -> `[N, U]`.

    Raises:
        ValueError: If `units` or `num_layers` is below 1.

    Source: Latif et al. 2020, section 4.4; Srivastava et al. 2015.
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
        """Run all layers on `x` `[N, U]`."""
        return highway(
            _in_autocast_dtype(x),
            [layer.get_parameter("weight") for layer in self.hidden],
            [layer.get_parameter("bias") for layer in self.hidden],
            [layer.get_parameter("weight") for layer in self.transform],
            [layer.get_parameter("bias") for layer in self.transform],
        )

    def extra_repr(self) -> str:
        """Constructor arguments."""
        return f"units={self.units}, num_layers={self.num_layers}, transform_bias={self.transform_bias}"


class LSTM(nn.Module):
    """One LSTM layer, batch first, zero initial state.

    Parameters, their names and their initialisation are those of `nn.LSTM`; unlike it, it compiles with
    `fullgraph=True` and gives gradients in eval mode on every device.

    Args:
        input_size: I.
        hidden_size: H.
        bidirectional: Append the states of a second direction that runs from the last step to the first.

    Shape:
        `[N, T, I]` -> `[N, T, H]`, or `[N, T, 2H]` bidirectional.

    Raises:
        ValueError: If `input_size` or `hidden_size` is below 1.

    Source: Latif et al. 2020, sections 3.2 and 4.4; Hochreiter and Schmidhuber 1997.
    """

    def __init__(self, input_size: int, hidden_size: int, bidirectional: bool = False) -> None:
        super().__init__()
        check_positive(input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bidirectional = bidirectional
        bound = 1 / math.sqrt(hidden_size)
        for suffix in self._suffixes():
            for name, columns in (
                ("weight_ih", [input_size]),
                ("weight_hh", [hidden_size]),
                ("bias_ih", []),
                ("bias_hh", []),
            ):
                value = torch.empty(4 * hidden_size, *columns).uniform_(-bound, bound)
                self.register_parameter(name + suffix, nn.Parameter(value))

    def _suffixes(self) -> tuple[str, ...]:
        return ("_l0", "_l0_reverse") if self.bidirectional else ("_l0",)

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states of all steps of `x` `[N, T, I]`."""
        x = _in_autocast_dtype(x)
        directions = [
            lstm(
                x,
                self.get_parameter(f"weight_ih{suffix}"),
                self.get_parameter(f"weight_hh{suffix}"),
                self.get_parameter(f"bias_ih{suffix}"),
                self.get_parameter(f"bias_hh{suffix}"),
                reverse=suffix.endswith("_reverse"),
            )
            for suffix in self._suffixes()
        ]
        return torch.cat(directions, dim=2) if self.bidirectional else directions[0]

    def last(self, x: Tensor) -> Tensor:
        """State of each direction after its last step: `[N, H]`, or `[N, 2H]` bidirectional."""
        hidden = self.forward(x)
        if not self.bidirectional:
            return hidden[:, -1]
        return torch.cat([hidden[:, -1, : self.hidden_size], hidden[:, 0, self.hidden_size :]], dim=1)

    def extra_repr(self) -> str:
        """Constructor arguments."""
        return f"{self.input_size}, {self.hidden_size}, bidirectional={self.bidirectional}"


class LogSpectrogram(nn.Module):
    """Log-power spectrograms of waveforms, in decibels, differentiable.

    Frames are not centred: there are `1 + (samples - win_length) // hop_length` of them, and the window is padded to
    `n_fft` on the right. The defaults are the paper's segments: 25 ms Hamming, 10 ms shift, lowest 128 bins at 16 kHz.

    Args:
        win_length: Samples of the (periodic) Hamming window.
        hop_length: Samples from frame to frame.
        n_fft: DFT length, at least `win_length`.
        num_bins: Lowest bins that are kept.
        power_floor: Added to the power before the logarithm.

    Shape:
        `[N, samples]` -> `[N, frames, num_bins]`.

    Raises:
        ValueError: If an argument is below 1, or `win_length` or `num_bins` does not fit `n_fft`.

    Source: Latif et al. 2020, section 4.2.
    """

    window: Tensor

    def __init__(
        self,
        win_length: int = 400,
        hop_length: int = 160,
        n_fft: int = 512,
        num_bins: int = 128,
        power_floor: float = 1e-10,
    ) -> None:
        super().__init__()
        check_positive(win_length=win_length, hop_length=hop_length, num_bins=num_bins)
        if win_length > n_fft:
            raise ValueError(f"win_length must be at most n_fft = {n_fft}, got {win_length}")
        if num_bins > n_fft // 2 + 1:
            raise ValueError(f"num_bins must be at most n_fft // 2 + 1 = {n_fft // 2 + 1}, got {num_bins}")
        self.hop_length = hop_length
        self.n_fft = n_fft
        self.num_bins = num_bins
        self.power_floor = power_floor
        self.register_buffer("window", torch.hamming_window(win_length, dtype=torch.float64).float(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Spectrograms of `waveforms` `[N, samples]`, with at least `win_length` samples."""
        win_length = self.window.shape[0]
        if waveforms.dim() != 2 or waveforms.shape[1] < win_length:
            raise ValueError(f"waveforms must be [N, samples >= {win_length}], got {list(waveforms.shape)}")
        number, samples = waveforms.shape
        frames = 1 + (samples - win_length) // self.hop_length
        return log_spectrogram(
            waveforms.reshape(-1),
            torch.arange(number, device=waveforms.device) * samples,
            torch.full((number,), frames, device=waveforms.device),
            self.window.to(waveforms.dtype),
            hop_length=self.hop_length,
            n_fft=self.n_fft,
            num_bins=self.num_bins,
            segment_frames=frames,
            power_floor=self.power_floor,
        )

    def extra_repr(self) -> str:
        """Constructor arguments."""
        return (
            f"win_length={self.window.shape[0]}, hop_length={self.hop_length}, n_fft={self.n_fft}, "
            f"num_bins={self.num_bins}"
        )
