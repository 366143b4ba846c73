"""Modules of the fused operations in `fastser_kernels`, for use in any model, also under `torch.compile`.

Feature maps are `[N, C, T, F]`: batch, channels, frames, bins. A layer with weights takes float32, float16, bfloat16
and, on a CPU, float64. `LogSpectrogram` takes float32 and float64. Outputs have the dtype of the input. Under
`torch.autocast` a layer with weights casts its input to the autocast dtype, unless it is float64. State dicts have the
names and shapes of nn.BatchNorm2d, nn.Conv2d, nn.Linear and nn.LSTM.

A layer computes with the tensors of its inner modules as long as these are plain (`fastser.runtime.inner_modules`). It
calls them if they have hooks, parametrizations or settings of their own, or are replaced: spectral_norm, weight_norm,
pruning, SyncBatchNorm, quantisation and wrappers work as in a model of plain modules. The result then has the layout
that these give it.
"""

import math

import torch
import torch.nn.functional as F
from fastser_kernels import dense_block, highway, log_spectrogram, lstm, max_pool_relu, norm_relu, transition
from fastser_kernels.checks import check_positive, check_power_floor
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


class MaxPoolReLU(nn.Module):
    """2x2 max-pooling with stride 2 and ReLU. An odd last row or column is dropped.

    Shape:
        `[N, C, T, F]` -> `[N, C, T//2, F//2]`, channels_last in memory.

    Example:
        >>> import torch
        >>> MaxPoolReLU()(torch.randn(2, 3, 17, 8)).shape
        torch.Size([2, 3, 8, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the positive part of the largest value of each window of `x` `[N, C, T, F]`, `[N, C, T//2, F//2]`."""
        return max_pool_relu(x)


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


class LogSpectrogram(nn.Module):
    """Differentiable log-power spectrogram in decibels.

    Frames are not centred, and the window is padded with zeros on the right to `n_fft` samples. The defaults are those
    of the paper at 16 kHz: a Hamming window of 25 ms, a hop of 10 ms and the lowest 128 bins.

    Args:
        win_length: Length of the periodic Hamming window in samples.
        hop_length: Samples from one frame to the next.
        n_fft: Length of the DFT, at least `win_length`.
        num_bins: Number of lowest bins in the result.
        power_floor: Power that is added before the logarithm.

    Shape:
        `[N, samples]` -> `[N, frames, num_bins]` with `frames = 1 + (samples - win_length) // hop_length`.

    Raises:
        ValueError: If an argument is below 1 or `power_floor` out of range, or if another is too large for `n_fft`.

    Source: Latif et al. 2020, section 4.2.

    Example:
        >>> import torch
        >>> LogSpectrogram()(torch.randn(2, 16_000)).shape
        torch.Size([2, 98, 128])
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
        check_power_floor(power_floor)
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
        """Return the spectrograms of waveforms.

        Args:
            waveforms: Waveforms of at least `win_length` samples, `[N, samples]`.

        Returns:
            Decibels, `[N, frames, num_bins]`.

        Raises:
            ValueError: If `waveforms` has another number of dimensions or too few samples.
        """
        win_length = self.window.shape[0]
        if waveforms.dim() != 2 or waveforms.shape[1] < win_length:
            raise ValueError(f"waveforms must be [N, samples >= {win_length}], got {list(waveforms.shape)}")
        number, samples = waveforms.shape
        frames = 1 + (samples - win_length) // self.hop_length
        return log_spectrogram(
            waveforms.reshape(-1),
            torch.arange(number, device=waveforms.device) * samples,
            torch.full((number,), frames, dtype=torch.int64, device=waveforms.device),
            self.window.to(waveforms.dtype),
            hop_length=self.hop_length,
            n_fft=self.n_fft,
            num_bins=self.num_bins,
            segment_frames=frames,
            power_floor=self.power_floor,
        )

    def extra_repr(self) -> str:
        """Return the constructor arguments."""
        return (
            f"win_length={self.window.shape[0]}, hop_length={self.hop_length}, n_fft={self.n_fft}, "
            f"num_bins={self.num_bins}"
        )
