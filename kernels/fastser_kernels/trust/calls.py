"""Calls by which a family of operations is tested: their sizes, their random tensors, and what is compared."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Size:
    """Sizes of the calls. The defaults are those of the paper's models.

    Attributes:
        batch: Segments in a batch.
        frames: Frames of a segment.
        bins: Frequency bins of a segment.
        n_fft: Length of the DFT in samples.
        images: Segments in a batch of maps. On a CPU one of them takes as long per segment as a whole batch.
        map_frames: Frames of the first maps.
        map_bins: Bins of the first maps.
        growth_rate: New maps of a dense layer.
        dense_layers: Dense layers of a block.
        lstm_units: Units of the LSTM.
        highway_units: Units of the highway network.
        highway_layers: Layers of the highway network.
    """

    batch: int = 64
    frames: int = 256
    bins: int = 128
    n_fft: int = 512
    images: int = 1
    map_frames: int = 128
    map_bins: int = 64
    growth_rate: int = 24
    dense_layers: int = 6
    lstm_units: int = 128
    highway_units: int = 128
    highway_layers: int = 3

    def __str__(self) -> str:
        return "-".join(map(str, astuple(self)))

    @property
    def win_length(self) -> int:
        """Length of the analysis window in samples, in the paper's proportion of 25 ms to 32 ms."""
        return max(25 * self.n_fft // 32, 1)

    @property
    def hop_length(self) -> int:
        """Samples from one frame to the next, in the paper's proportion of 10 ms to 32 ms."""
        return max(10 * self.n_fft // 32, 1)

    @property
    def trunk_channels(self) -> int:
        """Channels after a dense block."""
        return (2 + self.dense_layers) * self.growth_rate


SMALL = Size(
    batch=2,
    frames=16,
    bins=16,
    n_fft=64,
    images=1,
    map_frames=8,
    map_bins=8,
    growth_rate=8,
    dense_layers=2,
    lstm_units=16,
    highway_units=16,
    highway_layers=1,
)
"""A small size whose channels and units are multiples of 8."""

ODD = Size(
    batch=5,
    frames=37,
    bins=19,
    n_fft=76,
    images=3,
    map_frames=19,
    map_bins=13,
    growth_rate=5,
    dense_layers=3,
    lstm_units=13,
    highway_units=11,
    highway_layers=2,
)
"""A size that no tile, vector or thread divides."""

GPU_IMAGES = 16
"""Segments whose maps occupy a whole GPU: 131 072 pixels of the paper's first maps."""


def real_size(device: torch.device) -> Size:
    """Return the size of the paper's models, with the number of images for a device."""
    return Size(images=GPU_IMAGES) if device.type == "cuda" else Size()


@dataclass(frozen=True)
class Call:
    """One call of a public function.

    Attributes:
        name: What the call is, such as "training".
        run: The function. It takes the tensors, changes none of them, and returns its results. The first result is
            the differentiable one.
        tensors: Arguments of `run`.
        learned: Number of leading tensors whose gradients are compared and timed too.
    """

    name: str
    run: Callable[..., Sequence[Tensor]]
    tensors: Sequence[Tensor]
    learned: int = 0


class Draw:
    """Random tensors, the same ones for every device.

    Args:
        dtype: Dtype that is tested.
        device: Device that is tested.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype = dtype
        self.device = device
        self.exact = torch.promote_types(dtype, torch.float32)
        self._generator = torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal values in the tested dtype."""
        return self._draw(shape, self.dtype)

    def maps(self, *shape: int) -> Tensor:
        """Draw maps `[N, C, T, F]` in the tested dtype and in channels_last layout."""
        return self.normal(*shape).contiguous(memory_format=torch.channels_last)

    def parameter(self, *shape: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
        """Draw a parameter: float32, as autocast keeps it, or float64 if that is tested."""
        return self._draw(shape, self.exact) * scale + shift

    def positive(self, *shape: int) -> Tensor:
        """Draw a parameter between 0.5 and 1.5."""
        return torch.rand(shape, generator=self._generator, device="cpu").to(self.device, self.exact) + 0.5

    def norm(self, channels: int) -> tuple[Tensor, Tensor]:
        """Draw scale and shift of a batch normalisation, such that no input of the ReLU behind it is near zero.

        Rounding would turn a ReLU near zero on or off, and change gradients by more than any tolerance.
        """
        sign = torch.ones(channels, dtype=self.exact, device=self.device)
        sign[1::2] = -1.0
        return self.parameter(channels, scale=0.02, shift=0.25), self.parameter(channels, scale=0.1) + 3.0 * sign

    def kernel(self, outputs: int, inputs: int, side: int) -> Tensor:
        """Draw the kernel of a convolution whose results are smaller than its inputs."""
        return self.parameter(outputs, inputs, side, side, scale=0.3 / (side * inputs**0.5))

    def places(self, number: int, last: int) -> Tensor:
        """Draw int64 numbers from 0 to `last`."""
        return torch.randint(last + 1, (number,), generator=self._generator, device="cpu").to(self.device)

    def _draw(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.randn(shape, generator=self._generator, device="cpu").to(self.device, dtype)
