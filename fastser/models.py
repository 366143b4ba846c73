"""The five architectures of the paper (section 4.4): `[batch, frames, bins]` spectrograms -> `[batch, classes]` logits.

`MODELS` lists them with the functions that build them. Questions that the paper leaves open (rows 12 to 24 of
`docs/open-questions.md`) are fields of `ModelSettings`, or are answered where the part is built.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from fastser_kernels.checks import check_floating, check_positive
from torch import Tensor, nn

from fastser.layers import LSTM, DenseBlock, FusedSequential, Highway, MaxPoolReLU, Transition, normalised_relu
from fastser.runtime.registry import Registry
from fastser.settings import PAPER, ModelSettings


@dataclass(frozen=True, slots=True)
class InputShape:
    """Number of classes and shape of a segment, for which a model is built."""

    num_classes: int
    segment_frames: int
    num_bins: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model of the grid.

    Attributes:
        name: Name on the command line and in results, "densenet-lstm".
        title: Title in tables, "DenseNet-LSTM".
        build: Builds a module `[batch, segment_frames, num_bins]` float -> logits `[batch, num_classes]`.
    """

    name: str
    title: str
    build: Callable[[ModelSettings, InputShape], nn.Module]


def build_model(
    name: str,
    num_classes: int = 4,
    settings: ModelSettings = PAPER.model,
    segment_frames: int = PAPER.spectrogram.segment_frames,
    num_bins: int = PAPER.spectrogram.num_bins,
) -> nn.Module:
    """Build a model with fresh weights, drawn from torch's global random generator.

    The paper's models have He-normal convolutions and linear layers (open 24).

    Args:
        name: Name of a model in `MODELS`.
        num_classes: Number of emotions.
        settings: Sizes of the layers.
        segment_frames: Frames of a segment, at least 16.
        num_bins: Frequency bins of a segment, at least 16.

    Returns:
        A module `[batch, segment_frames, num_bins]` float -> logits `[batch, num_classes]`.

    Raises:
        LookupError: If there is no such model.
        ValueError: If a segment is smaller than 16 x 16, or `num_classes` is below 1.

    Example:
        >>> import torch
        >>> from fastser.models import build_model
        >>> build_model("cnn", num_classes=7)(torch.randn(2, 256, 128)).shape
        torch.Size([2, 7])
    """
    architecture = MODELS[name]
    check_positive(num_classes=num_classes)
    if min(segment_frames, num_bins) < 16:
        raise ValueError(f"a segment must be at least 16 frames x 16 bins, got {segment_frames} x {num_bins}")
    model = architecture.build(settings, InputShape(num_classes, segment_frames, num_bins))
    return model.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def _he_normal(build: Callable[[ModelSettings, InputShape], nn.Module]) -> Callable[..., nn.Module]:
    """Return `build` with convolutions and linear layers initialised He-normal."""
    return lambda settings, shape: build(settings, shape).apply(_initialise)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, Highway):
        module.reset_transform_bias()


class SegmentClassifier(nn.Module):
    """A trunk of convolutions, a summary of its maps, and dense layers: every architecture but the proposed one."""

    def __init__(self, num_bins: int, trunk: nn.Module, summary: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.num_bins = num_bins
        self.trunk = trunk
        self.summary = summary
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[batch, num_classes]` for `x` `[batch, frames, bins]`."""
        logits: Tensor = self.head(self.summary(self.trunk(_as_map(x, self.num_bins))))
        return logits


class Proposed(nn.Module):
    """DenseNet, LSTM and highway network (paper 3, 4.4), with one skip connection from each DenseBlock.

    A skip connection averages the block's maps and projects them to the highway's width (open 17). The sum of the two
    and the LSTM's last state are concatenated and projected to the highway's width (open 18). Dropout follows the LSTM
    or has another place (open 40).
    """

    def __init__(self, settings: ModelSettings, shape: InputShape) -> None:
        super().__init__()
        growth_rate, units = settings.proposed_growth_rate, settings.highway_units
        self.num_bins = shape.num_bins
        self.stem = _stem(settings, growth_rate)
        self.block1 = DenseBlock(2 * growth_rate, growth_rate, settings.layers_per_block)
        self.transition = _transition(settings, self.block1.out_channels)
        self.block2 = DenseBlock(self.transition.out_channels, growth_rate, settings.layers_per_block)
        self.norm = nn.BatchNorm2d(self.block2.out_channels)
        bins = _dense_size(settings, shape.num_bins, halvings=1)
        self.context = _last_step(self.block2.out_channels * bins, settings)
        self.dropout_place = settings.dropout_place
        self.dropout = nn.Dropout(settings.dropout)
        self.average = MapAverages()
        self.skip1 = nn.Linear(self.block1.out_channels, units)
        self.skip2 = nn.Linear(self.block2.out_channels, units)
        self.fuse = nn.Linear(self.context.features + units, units)
        self.highway = Highway(units, settings.highway_layers)
        self.output = nn.Linear(units, shape.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[batch, num_classes]` for `x` `[batch, frames, bins]`."""
        maps1 = self.block1(self.stem(_as_map(x, self.num_bins)))
        maps2 = self.block2(self.transition(maps1))
        context = self._dropped("lstm", self.context(normalised_relu(self.norm, maps2)))
        skips = self.skip1(self.average(maps1)) + self.skip2(self.average(maps2))
        fused = self.fuse(self._dropped("fuse", torch.cat([skips, context], dim=1)))
        logits: Tensor = self.output(self._dropped("output", self.highway(fused)))
        return logits

    def _dropped(self, place: str, x: Tensor) -> Tensor:
        """Return `x` after dropout, if dropout has this place (open 40)."""
        return self.dropout(x) if place == self.dropout_place else x


class MapAverages(nn.Module):
    """Mean of each map, `[N, C, T, F]` -> `[N, C]`.

    The gradient of the sum is a view. The gradient of Tensor.mean would fill whole maps.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the averages `[N, C]` of `x` `[N, C, T, F]`."""
        return x.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])


class LastStep(nn.Module):
    """Last state of an LSTM per direction (open 16), over maps `[N, C, T, F]` as T steps of C*F features (open 15)."""

    def __init__(self, lstm: LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    @property
    def features(self) -> int:
        """Return the number of features of the last state."""
        return self.lstm.hidden_size * (2 if self.lstm.bidirectional else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last state, `[N, H]` or, bidirectional, `[N, 2H]`."""
        return self.lstm.last(x.permute(0, 2, 3, 1).flatten(2))


def _last_step(inputs: int, settings: ModelSettings) -> LastStep:
    """Build the LSTM of Proposed and DenseNet-LSTM."""
    return LastStep(LSTM(inputs, settings.lstm_units, bidirectional=settings.lstm_directions == "both"))


def _as_map(x: Tensor, num_bins: int) -> Tensor:
    if x.dim() != 3 or x.shape[2] != num_bins:
        raise ValueError(f"the model's input must be [batch, frames, bins = {num_bins}], got {list(x.shape)}")
    check_floating("the model's input", x)
    return x.unsqueeze(1)


def _stem(settings: ModelSettings, growth_rate: int) -> nn.Module:
    """Build the first convolution, with 2 G filters (open 12)."""
    if settings.stem == "conv3x3":
        return nn.Conv2d(1, 2 * growth_rate, 3, padding=1, bias=False)
    conv = nn.Conv2d(1, 2 * growth_rate, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(conv, nn.MaxPool2d(3, 2, 1)) if settings.stem == "conv7x7-stride2-maxpool" else conv


def _transition(settings: ModelSettings, channels: int) -> Transition:
    return Transition(channels, int(settings.compression * channels))


STEM_STRIDES = {"conv3x3": 1, "conv7x7-stride2": 2, "conv7x7-stride2-maxpool": 4}
"""Strides of the first convolution and its pool together, by `ModelSettings.stem`."""


def _dense_size(settings: ModelSettings, size: int, halvings: int) -> int:
    """Return the length of one axis of the maps after the stem, which rounds up, and transitions, which round down."""
    return -(-size // STEM_STRIDES[settings.stem]) >> halvings


def _dense_trunk(settings: ModelSettings) -> tuple[nn.Module, int]:
    """Build stem, three DenseBlocks with transitions between them, BN and ReLU (open 14).

    Returns:
        The trunk and its number of channels.
    """
    growth_rate = settings.densenet_growth_rate
    trunk = FusedSequential(_stem(settings, growth_rate))
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


def _dense_head(features: int, settings: ModelSettings, shape: InputShape) -> nn.Module:
    return nn.Sequential(
        nn.Linear(features, settings.dense_units), nn.ReLU(), nn.Linear(settings.dense_units, shape.num_classes)
    )


def _densenet(settings: ModelSettings, shape: InputShape) -> nn.Module:
    """Build the DenseNet: one average per map (open 20) and 1 000 hidden units."""
    trunk, channels = _dense_trunk(settings)
    return SegmentClassifier(shape.num_bins, trunk, MapAverages(), _dense_head(channels, settings, shape))


def _densenet_lstm(settings: ModelSettings, shape: InputShape) -> nn.Module:
    trunk, channels = _dense_trunk(settings)
    features = channels * _dense_size(settings, shape.num_bins, halvings=2)
    summary = _last_step(features, settings)
    return SegmentClassifier(shape.num_bins, trunk, summary, _dense_head(summary.features, settings, shape))


def _cnn_trunk(settings: ModelSettings) -> nn.Module:
    """Build three convolutions that keep the size, each with 2x2 max-pooling and ReLU.

    An even kernel pads its extra zero in front. The pool drops the row that this adds behind.
    """
    trunk = nn.Sequential()
    inputs = 1
    for i, (filters, (bins, frames)) in enumerate(zip(settings.cnn_filters, settings.cnn_kernels, strict=True)):
        conv = nn.Conv2d(inputs, filters, (frames, bins), padding=(frames // 2, bins // 2))
        trunk.add_module(f"{3 * i}", conv)  # the names that it had when pooling and ReLU were modules of their own
        trunk.add_module(f"{3 * i + 1}", MaxPoolReLU())
        inputs = filters
    return trunk


def _cnn_sizes(settings: ModelSettings, shape: InputShape) -> tuple[int, int]:
    """Return frames and bins of the maps after the trunk.

    A layer with an even kernel rounds up, a layer with an odd kernel rounds down.
    """
    frames, bins = shape.segment_frames, shape.num_bins
    for kernel_bins, kernel_frames in settings.cnn_kernels:
        frames = (frames + 1 - kernel_frames % 2) // 2
        bins = (bins + 1 - kernel_bins % 2) // 2
    return frames, bins


def _cnn_head(features: int, settings: ModelSettings, shape: InputShape) -> nn.Module:
    units = settings.cnn_units[1]
    return nn.Sequential(
        nn.Linear(features, units), nn.ReLU(), nn.Dropout(settings.dropout), nn.Linear(units, shape.num_classes)
    )


def _cnn(settings: ModelSettings, shape: InputShape) -> nn.Module:
    frames, bins = _cnn_sizes(settings, shape)
    features = settings.cnn_filters[-1] * frames * bins
    summary = nn.Sequential(nn.Flatten(), nn.Linear(features, settings.cnn_units[0]), nn.ReLU())
    return SegmentClassifier(
        shape.num_bins, _cnn_trunk(settings), summary, _cnn_head(settings.cnn_units[0], settings, shape)
    )


def _cnn_lstm(settings: ModelSettings, shape: InputShape) -> nn.Module:
    features = settings.cnn_filters[-1] * _cnn_sizes(settings, shape)[1]
    summary = LastStep(LSTM(features, settings.lstm_units, bidirectional=True))
    return SegmentClassifier(
        shape.num_bins, _cnn_trunk(settings), summary, _cnn_head(2 * settings.lstm_units, settings, shape)
    )


MODELS = Registry(
    "model",
    [
        Architecture("cnn", "CNN", _he_normal(_cnn)),
        Architecture("cnn-lstm", "CNN-LSTM", _he_normal(_cnn_lstm)),
        Architecture("densenet", "DenseNet", _he_normal(_densenet)),
        Architecture("densenet-lstm", "DenseNet-LSTM", _he_normal(_densenet_lstm)),
        Architecture("proposed", "Proposed", _he_normal(Proposed)),
    ],
)
"""The paper's architectures, in the order of its Table 1."""
