"""Layers at sizes below and above the thresholds of the operations, and the same layers from calls of inner modules."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastser.layers import LSTM, DenseBlock, DenseLayer, FusedSequential, Highway, MaxPoolReLU, Transition


@dataclass(frozen=True)
class LayerCase:
    """A layer with random weights, its plain twin and the shapes of a small and a large input."""

    make: Callable[[], nn.Module]
    small: tuple[int, ...]
    large: tuple[int, ...]

    def build(self, seed: int = 0) -> nn.Module:
        """Return a layer in float64, whose norms have values of their own."""
        torch.manual_seed(seed)
        layer = self.make().double()
        for module in layer.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 1.5)
        return layer

    def input(self, size: str = "small") -> Tensor:
        """Return the small or the large input, in float64."""
        shape = self.small if size == "small" else self.large
        return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


LAYERS = {
    "DenseLayer": LayerCase(lambda: DenseLayer(6, 4), (2, 6, 5, 4), (2, 6, 330, 330)),
    "DenseBlock": LayerCase(lambda: DenseBlock(6, 4, 3), (2, 6, 5, 4), (2, 6, 250, 256)),
    "Transition": LayerCase(lambda: Transition(6, 5), (2, 6, 5, 4), (2, 6, 730, 730)),
    "FusedSequential": LayerCase(
        lambda: FusedSequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 1)), (2, 6, 5, 4), (2, 6, 730, 730)
    ),
    "Highway": LayerCase(lambda: Highway(4, 2), (3, 4), (1000, 4)),
    "MaxPoolReLU": LayerCase(MaxPoolReLU, (2, 6, 5, 4), (2, 6, 730, 730)),
    "LSTM": LayerCase(lambda: LSTM(4, 3, bidirectional=True), (3, 5, 4), (64, 5, 4)),
}


def called(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the result of a layer as its inner modules compute it when they are called."""
    if isinstance(layer, DenseLayer):
        new = layer.conv(F.relu(layer.norm(x)))
        return torch.cat([x, new], dim=1)
    if isinstance(layer, DenseBlock):
        for inner in layer.children():
            x = called(inner, x) if type(inner) is DenseLayer and not inner._forward_hooks else inner(x)
        return x
    if isinstance(layer, Transition):
        return F.avg_pool2d(layer.conv(F.relu(layer.norm(x))), 2)
    if isinstance(layer, FusedSequential):
        for inner in layer:
            x = inner(x)
        return x
    if isinstance(layer, Highway):
        for hidden, gate in zip(layer.hidden, layer.transform, strict=True):
            x = torch.lerp(x, F.relu(hidden(x)), torch.sigmoid(gate(x)))
        return x
    if isinstance(layer, MaxPoolReLU):
        return F.relu(F.max_pool2d(x, 2))
    assert isinstance(layer, nn.LSTM)
    states, _ = layer(x)
    assert isinstance(states, Tensor)
    return states


def twin(case: LayerCase) -> nn.Module:
    """Return a second layer with the same weights for `called`. That of an LSTM is an nn.LSTM."""
    layer = case.build()
    if not isinstance(layer, LSTM):
        return layer
    plain = nn.LSTM(layer.input_size, layer.hidden_size, batch_first=True, bidirectional=True).double()
    plain.load_state_dict(layer.state_dict())
    return plain


def results(run: Callable[[Tensor], Tensor], layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the result of `run`, the gradients and all buffers of the layer after two calls."""
    x = x.clone().requires_grad_()
    run(x)
    y = run(x)
    cotangent = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    layer.zero_grad()
    y.backward(cotangent)
    assert x.grad is not None
    parameters = {name: value.grad for name, value in layer.named_parameters() if value.grad is not None}
    buffers = {name: value.clone() for name, value in layer.named_buffers()}
    return {"result": y.detach(), "gradient of x": x.grad} | parameters | buffers


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 1e-7, atol: float = 1e-8) -> None:
    """Check that two layers have the same results, gradients and buffers, by name."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=rtol, atol=atol, msg=lambda text, n=name: f"{n}: {text}")
