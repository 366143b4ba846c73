"""The five architectures of the paper (section 4.4): `[batch, frames, bins]` spectrograms -> `[batch, classes]` logits.

`ARCHITECTURES` is the table; each entry names the function that puts its parts together. What the paper leaves open
(rows 12 to 24 of `docs/open-questions.md`) is either a field of `ModelSettings` or stated where it is built.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastser.layers import LSTM, DenseBlock, Highway, Transition
from fastser.settings import PAPER, ModelSettings


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an architecture is built for: classes, and the shape of one segment."""

    num_classes: int
    segment_frames: int
    num_bins: int


def build_model(
    name: str,
    num_classes: int = 4,
    settings: ModelSettings = PAPER.model,
    segment_frames: int = PAPER.spectrogram.segment_frames,
    num_bins: int = PAPER.spectrogram.num_bins,
) -> nn.Module:
    """Build one architecture with fresh weights (He-normal convolutions and linear layers; open 24).

    Args:
        name: One of `ARCHITECTURES`.
        num_classes: Number of emotions.
        settings: Sizes of the layers.
        segment_frames: Frames of a segment.
        num_bins: Frequency bins of a segment.

    Returns:
        A module `[batch, segment_frames, num_bins]` float -> logits `[batch, num_classes]`.

    Raises:
        ValueError: If the name is unknown or a segment is smaller than 16 x 16.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"model '{name}' does not exist; choose from {', '.join(ARCHITECTURES)}")
    if min(segment_frames, num_bins) < 16:
        raise ValueError(f"a segment must be at least 16 frames x 16 bins, got {segment_frames} x {num_bins}")
    model = ARCHITECTURES[name](settings, Sizes(num_classes, segment_frames, num_bins))
    return model.apply(_initialise).to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, Highway):
        module.reset_transform_bias()


class SegmentClassifier(nn.Module):
    """Maps from the spectrogram, one summary of the maps, dense layers: all architectures but the proposed one."""

    def __init__(self, trunk: nn.Module, summary: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.summary = summary
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[batch, num_classes]` of `x` `[batch, frames, bins]`."""
        logits: Tensor = self.head(self.summary(self.trunk(_as_map(x))))
        return logits


class Proposed(nn.Module):
    """DenseNet, LSTM and highway network (paper 3, 4.4), with one skip connection from each DenseBlock.

    A skip connection averages the block's maps and projects them to the highway's width (open 17); their sum and the
    LSTM's last state, after dropout, are projected to the highway's width (open 18).
    """

    def __init__(self, settings: ModelSettings, sizes: Sizes) -> None:
        super().__init__()
        growth_rate, units = settings.proposed_growth_rate, settings.highway_units
        self.stem = _stem(settings, growth_rate)
        self.block1 = DenseBlock(2 * growth_rate, growth_rate, settings.layers_per_block)
        self.transition = _transition(settings, self.block1.out_channels)
        self.block2 = DenseBlock(self.transition.out_channels, growth_rate, settings.layers_per_block)
        self.norm = nn.BatchNorm2d(self.block2.out_channels)
        bins = _dense_size(settings, sizes.num_bins, halvings=1)
        self.context = LastStep(LSTM(self.block2.out_channels * bins, settings.lstm_units))
        self.dropout = nn.Dropout(settings.dropout)
        self.average = MapAverages()
        self.skip1 = nn.Linear(self.block1.out_channels, units)
        self.skip2 = nn.Linear(self.block2.out_channels, units)
        self.fuse = nn.Linear(settings.lstm_units + units, units)
        self.highway = Highway(units, settings.highway_layers)
        self.output = nn.Linear(units, sizes.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[batch, num_classes]` of `x` `[batch, frames, bins]`."""
        maps1 = self.block1(self.stem(_as_map(x)))
        maps2 = self.block2(self.transition(maps1))
        context = self.dropout(self.context(torch.relu(self.norm(maps2))))
        skips = self.skip1(self.average(maps1)) + self.skip2(self.average(maps2))
        logits: Tensor = self.output(self.highway(self.fuse(torch.cat([skips, context], dim=1))))
        return logits


class MapAverages(nn.Module):
    """Mean of each map, `[N, C, T, F]` -> `[N, C]`; the gradient is a view, where that of Tensor.mean fills maps."""

    def forward(self, x: Tensor) -> Tensor:
        """Averages `[N, C]` of `x` `[N, C, T, F]`."""
        return x.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])


class LastStep(nn.Module):
    """Maps `[N, C, T, F]` as T steps of C*F features (open 15) -> last state of an LSTM, per direction (open 16)."""

    def __init__(self, lstm: LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor) -> Tensor:
        """Last state `[N, H]`, or `[N, 2H]` bidirectional."""
        return self.lstm.last(x.permute(0, 2, 3, 1).flatten(2))


def _as_map(x: Tensor) -> Tensor:
    if x.dim() != 3:
        raise ValueError(f"the model's input must be [batch, frames, bins], got {list(x.shape)}")
    return x.unsqueeze(1)


def _stem(settings: ModelSettings, growth_rate: int) -> nn.Module:
    """First convolution, 2 G filters (open 12)."""
    if settings.stem == "conv3x3":
        return nn.Conv2d(1, 2 * growth_rate, 3, padding=1, bias=False)
    conv = nn.Conv2d(1, 2 * growth_rate, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(conv, nn.MaxPool2d(3, 2, 1)) if settings.stem == "conv7x7-stride2-maxpool" else conv


def _transition(settings: ModelSettings, channels: int) -> Transition:
    return Transition(channels, int(settings.compression * channels))


def _dense_size(settings: ModelSettings, size: int, halvings: int) -> int:
    """Length of one axis of the maps after the stem, which rounds up, and the transitions, which round down."""
    stride = {"conv3x3": 1, "conv7x7-stride2": 2, "conv7x7-stride2-maxpool": 4}[settings.stem]
    return -(-size // stride) >> halvings


def _dense_trunk(settings: ModelSettings) -> tuple[nn.Module, int]:
    """Stem and three DenseBlocks with a transition between blocks, then BN and ReLU (open 14); and its channels."""
    growth_rate = settings.densenet_growth_rate
    trunk = nn.Sequential(_stem(settings, growth_rate))
    channels = 2 * growth_rate
    for i in range(3):
        if i > 0:
            transition = _transition(settings, channels)
            trunk.append(transition)
            channels = transition.out_channels
        block = DenseBlock(channels, growth_rate, settings.layers_per_block)
        trunk.append(block)
        channels = block.out_channels
    return trunk.extend([nn.BatchNorm2d(channels), nn.ReLU()]), channels


def _dense_head(features: int, settings: ModelSettings, sizes: Sizes) -> nn.Module:
    return nn.Sequential(
        nn.Linear(features, settings.dense_units), nn.ReLU(), nn.Linear(settings.dense_units, sizes.num_classes)
    )


def _densenet(settings: ModelSettings, sizes: Sizes) -> nn.Module:
    """One average per map (open 20), and 1 000 hidden units."""
    trunk, channels = _dense_trunk(settings)
    return SegmentClassifier(trunk, MapAverages(), _dense_head(channels, settings, sizes))


def _densenet_lstm(settings: ModelSettings, sizes: Sizes) -> nn.Module:
    trunk, channels = _dense_trunk(settings)
    features = channels * _dense_size(settings, sizes.num_bins, halvings=2)
    summary = LastStep(LSTM(features, settings.lstm_units))
    return SegmentClassifier(trunk, summary, _dense_head(settings.lstm_units, settings, sizes))


def _cnn_trunk(settings: ModelSettings) -> nn.Module:
    """Three convolutions that keep the size, each halved by 2x2 max-pooling, and ReLU (which commutes with the pool).

    An even kernel pads its extra zero in front. The row that this adds behind is dropped by the pool.
    """
    trunk = nn.Sequential()
    inputs = 1
    for filters, (bins, frames) in zip(settings.cnn_filters, settings.cnn_kernels, strict=True):
        conv = nn.Conv2d(inputs, filters, (frames, bins), padding=(frames // 2, bins // 2))
        trunk.extend([conv, nn.MaxPool2d(2), nn.ReLU()])
        inputs = filters
    return trunk


def _cnn_sizes(settings: ModelSettings, sizes: Sizes) -> tuple[int, int]:
    """Frames and bins of the maps after the trunk: a layer with an even kernel rounds up, one with an odd one down."""
    frames, bins = sizes.segment_frames, sizes.num_bins
    for kernel_bins, kernel_frames in settings.cnn_kernels:
        frames = (frames + 1 - kernel_frames % 2) // 2
        bins = (bins + 1 - kernel_bins % 2) // 2
    return frames, bins


def _cnn_head(features: int, settings: ModelSettings, sizes: Sizes) -> nn.Module:
    units = settings.cnn_units[1]
    return nn.Sequential(
        nn.Linear(features, units), nn.ReLU(), nn.Dropout(settings.dropout), nn.Linear(units, sizes.num_classes)
    )


def _cnn(settings: ModelSettings, sizes: Sizes) -> nn.Module:
    frames, bins = _cnn_sizes(settings, sizes)
    features = settings.cnn_filters[-1] * frames * bins
    summary = nn.Sequential(nn.Flatten(), nn.Linear(features, settings.cnn_units[0]), nn.ReLU())
    return SegmentClassifier(_cnn_trunk(settings), summary, _cnn_head(settings.cnn_units[0], settings, sizes))


def _cnn_lstm(settings: ModelSettings, sizes: Sizes) -> nn.Module:
    features = settings.cnn_filters[-1] * _cnn_sizes(settings, sizes)[1]
    summary = LastStep(LSTM(features, settings.lstm_units, bidirectional=True))
    return SegmentClassifier(_cnn_trunk(settings), summary, _cnn_head(2 * settings.lstm_units, settings, sizes))


ARCHITECTURES: dict[str, Callable[[ModelSettings, Sizes], nn.Module]] = {
    "cnn": _cnn,
    "cnn-lstm": _cnn_lstm,
    "densenet": _densenet,
    "densenet-lstm": _densenet_lstm,
    "proposed": Proposed,
}
"""What builds each of the paper's systems."""
