"""Models of plain PyTorch modules, with the weights of a model that is made of fastser's layers."""

import copy

import torch
from torch import Tensor, nn

from fastser.layers import LSTM, DenseBlock, Highway, MaxPoolReLU, Transition


class EagerDenseBlock(nn.Module):
    """A dense block of batch normalisation, ReLU, 3x3 convolution and concatenation."""

    def __init__(self, block: DenseBlock) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(_plain_norm(layer.norm), nn.ReLU(), layer.conv) for layer in block.children()
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class EagerNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d of another class, which fastser's models call as a module of its own."""


class EagerHighway(nn.Module):
    """A highway network of linear layers, ReLU and sigmoid."""

    def __init__(self, highway: Highway) -> None:
        super().__init__()
        self.hidden, self.transform = highway.hidden, highway.transform

    def forward(self, x: Tensor) -> Tensor:
        for hidden, transform in zip(self.hidden, self.transform, strict=True):
            x = torch.lerp(x, torch.relu(hidden(x)), torch.sigmoid(transform(x)))
        return x


class EagerLSTM(nn.LSTM):
    """nn.LSTM with a method for its last states."""

    def last(self, x: Tensor) -> Tensor:
        return self.forward(x)[1][0].transpose(0, 1).flatten(1)


def eager_model(model: nn.Module) -> nn.Module:
    """Return a copy of a model from `fastser.models` in which plain PyTorch modules replace fastser's layers.

    Transitions pool before their 1x1 convolution, as fastser's do, so the arithmetic is the same.
    """
    eager = copy.deepcopy(model)
    for name, module in list(eager.named_modules()):
        if isinstance(module, DenseBlock):
            eager.set_submodule(name, EagerDenseBlock(module))
        elif isinstance(module, Transition):
            norm = _plain_norm(module.norm)
            eager.set_submodule(name, nn.Sequential(norm, nn.ReLU(), nn.AvgPool2d(2), module.conv))
        elif isinstance(module, MaxPoolReLU):
            eager.set_submodule(name, nn.Sequential(nn.MaxPool2d(2), nn.ReLU()))
        elif isinstance(module, Highway):
            eager.set_submodule(name, EagerHighway(module))
        elif isinstance(module, LSTM):
            eager.set_submodule(name, _plain_lstm(module))
    for module in eager.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = EagerNorm
    return eager.train(model.training)


def _plain_lstm(lstm: LSTM) -> EagerLSTM:
    sizes = lstm.input_size, lstm.hidden_size
    place = {"device": lstm.weight_hh_l0.device, "dtype": lstm.weight_hh_l0.dtype}
    plain = EagerLSTM(*sizes, batch_first=True, bidirectional=lstm.bidirectional, **place)
    plain.load_state_dict(lstm.state_dict())
    return plain


def _plain_norm(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    place = {"device": norm.weight.device, "dtype": norm.weight.dtype}
    plain = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, **place)
    plain.load_state_dict(norm.state_dict())
    return plain
