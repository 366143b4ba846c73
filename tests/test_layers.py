"""Layers: state dicts of plain PyTorch modules, training flags, compilation, autocast and errors."""

import copy
import re
from typing import Any

import pytest
import torch
from cases import PlainDenseBlock, plain_transition
from torch import Tensor, nn

from fastser.layers import LSTM, DenseBlock, DenseLayer, Highway, LogSpectrogram, Transition


def _train(model: nn.Module, x: Tensor, target: Tensor) -> list[float]:
    optimiser = torch.optim.SGD(model.parameters(), 0.05)
    losses = []
    for _ in range(10):
        loss = nn.functional.mse_loss(model(x), target)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return losses


@pytest.mark.parametrize(
    ("ours", "plain", "out_shape"),
    [
        (DenseBlock(4, 3, 2), PlainDenseBlock(4, 3, 2), (2, 10, 6, 8)),
        (DenseLayer(4, 3), PlainDenseBlock(4, 3, 1), (2, 7, 6, 8)),
        (Transition(4, 5), plain_transition(4, 5), (2, 5, 3, 4)),
    ],
    ids=["DenseBlock", "DenseLayer", "Transition"],
)
def test_state_dicts_and_training_equal_plain_modules(ours: nn.Module, plain: nn.Module, out_shape: tuple[int]) -> None:
    torch.manual_seed(0)
    prefix = "denselayer1." if isinstance(ours, DenseLayer) else ""
    plain.load_state_dict({prefix + key: value for key, value in ours.state_dict().items()})
    x, target = torch.randn(2, 4, 6, 8), torch.randn(out_shape)
    assert _train(ours, x, target) == pytest.approx(_train(plain, x, target), rel=1e-4)
    torch.testing.assert_close(ours.eval()(x), plain.eval()(x), rtol=1e-4, atol=1e-5)
    ours.load_state_dict({key.removeprefix(prefix): value for key, value in plain.state_dict().items()})
    torch.testing.assert_close(ours(x), plain(x))
    assert {v.item() for k, v in ours.state_dict().items() if k.endswith("num_batches_tracked")} == {10}


@pytest.mark.fast
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lstm_state_dict_and_states_equal_nn_lstm(bidirectional: bool) -> None:
    torch.manual_seed(0)
    ours, plain = LSTM(6, 5, bidirectional), nn.LSTM(6, 5, batch_first=True, bidirectional=bidirectional)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(3, 7, 6)
    expected, (last, _) = plain(x)
    torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours.last(x), last.transpose(0, 1).flatten(1))
    ours.load_state_dict(nn.LSTM(6, 5, bidirectional=bidirectional).state_dict())
    assert all(value.abs().max() <= 5**-0.5 for value in LSTM(6, 5).parameters())


def test_frozen_batch_norms_use_and_keep_their_running_statistics() -> None:
    torch.manual_seed(0)
    block, x = DenseBlock(4, 3, 2), torch.randn(2, 4, 6, 8)
    expected = block.eval()(x)
    before = {key: value.clone() for key, value in block.state_dict().items()}
    block.train()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert torch.equal(block(x), expected)
    for key, value in block.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_highway_carries_its_input_at_first() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 8)
    torch.testing.assert_close(Highway(8, 3, transform_bias=-30.0)(x), x)
    assert (Highway(8, 3)(x) - x).abs().max() > 0.01


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (DenseBlock(4, 3, 2), torch.randn(2, 4, 6, 8)),
        (Transition(4, 5), torch.randn(2, 4, 6, 8)),
        (Highway(8, 2), torch.randn(3, 8)),
        (LSTM(6, 5, bidirectional=True), torch.randn(3, 7, 6)),
        (LogSpectrogram(), torch.randn(2, 1000)),
    ],
    ids=["DenseBlock", "Transition", "Highway", "LSTM", "LogSpectrogram"],
)
def test_layers_compile_without_a_graph_break(layer: nn.Module, x: Tensor) -> None:
    expected = layer.eval()(x)
    torch._dynamo.reset()
    torch.testing.assert_close(
        torch.compile(layer, fullgraph=True, backend="aot_eager")(x), expected, rtol=1e-4, atol=1e-5
    )


def test_repr_shows_the_constructor_arguments() -> None:
    assert repr(DenseBlock(4, 3, 2)).startswith("DenseBlock(\n  in_channels=4, growth_rate=3, num_layers=2\n")
    assert repr(Transition(4, 5)).startswith("Transition(\n  in_channels=4, out_channels=5\n")
    assert repr(Highway(8, 2)).startswith("Highway(\n  units=8, num_layers=2, transform_bias=-1.0\n")
    assert repr(LogSpectrogram()) == "LogSpectrogram(win_length=400, hop_length=160, n_fft=512, num_bins=128)"
    assert repr(LSTM(6, 5)) == "LSTM(6, 5, bidirectional=False)"


@pytest.mark.parametrize(
    ("layer", "arguments", "name"),
    [
        (DenseBlock, (4, 0, 2), "growth_rate"),
        (DenseBlock, (4, 3, 0), "num_layers"),
        (DenseLayer, (0, 3), "in_channels"),
        (Transition, (4, -1), "out_channels"),
        (Highway, (0, 3), "units"),
        (LSTM, (6, 0), "hidden_size"),
    ],
)
def test_bad_sizes_are_named(layer: type[nn.Module], arguments: tuple[int, ...], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got "):
        layer(*arguments)


@pytest.mark.parametrize("value", [2.0, "3", None])
@pytest.mark.parametrize("layer", [DenseBlock, Transition, Highway, LSTM])
def test_a_size_that_is_no_whole_number_is_named(layer: type[nn.Module], value: object) -> None:
    arguments = (4, 3, value) if layer is DenseBlock else (4, value)
    with pytest.raises(TypeError, match=f"[a-z_]+ must be a whole number, got {value!r}"):
        layer(*arguments)


INPUTS: list[tuple[nn.Module, list[int]]] = [
    (DenseLayer(4, 3), [2, 4, 6, 8]),
    (DenseBlock(4, 3, 2), [2, 4, 6, 8]),
    (Transition(4, 5), [2, 4, 6, 8]),
    (Highway(4, 2), [2, 4]),
    (LSTM(4, 5), [2, 3, 4]),
]
"""Layers with weights, each with the shape of an input."""


@pytest.mark.parametrize(("layer", "shape"), INPUTS, ids=lambda value: type(value).__name__)
def test_an_input_that_does_not_fit_the_weights_is_named(layer: nn.Module, shape: list[int]) -> None:
    with pytest.raises(TypeError, match=r"x must be a torch\.Tensor, got ndarray"):
        layer(torch.zeros(shape).numpy())
    with pytest.raises(TypeError, match="must be float64, got float32; x is float64"):
        layer(torch.zeros(shape, dtype=torch.float64))
    wrong = [7 if size == 4 else size for size in shape]
    with pytest.raises(ValueError, match=re.escape(f"]; x is {wrong}")):
        layer(torch.zeros(wrong))


@pytest.mark.parametrize(("layer", "shape"), INPUTS, ids=lambda value: type(value).__name__)
def test_layers_give_their_shapes_on_the_meta_device(layer: nn.Module, shape: list[int]) -> None:
    x = torch.zeros(shape)
    expected = layer.eval()(x)
    got = copy.deepcopy(layer).to("meta")(x.to("meta"))
    assert (got.shape, got.device.type) == (expected.shape, "meta")


@pytest.mark.fast
def test_log_spectrogram_and_its_gradient_equal_torch_stft() -> None:
    torch.manual_seed(0)
    layer = LogSpectrogram().double()
    waveforms = torch.randn(3, 2_000, dtype=torch.float64, requires_grad=True)
    got = layer(waveforms)
    window = torch.cat([layer.window, torch.zeros(112, dtype=torch.float64)])
    padded = torch.nn.functional.pad(waveforms, (0, 112))
    spectrum = torch.stft(padded, 512, 160, 512, window, center=False, return_complex=True)
    expected = (spectrum[:, :128].abs().square() + 1e-10).log10().mul(10.0).transpose(1, 2)
    assert got.shape == (3, 11, 128)
    torch.testing.assert_close(got, expected)
    cotangent = torch.randn_like(got)
    ours, theirs = (torch.autograd.grad(out, waveforms, cotangent, retain_graph=True)[0] for out in (got, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"win_length": 600}, "win_length must be at most n_fft = 512, got 600"),
        ({"num_bins": 258}, r"num_bins must be at most n_fft // 2 \+ 1 = 257, got 258"),
        ({"hop_length": 0}, "hop_length must be at least 1, got 0"),
        ({"power_floor": 0.0}, "power_floor must be from 1e-37 to "),
        ({"power_floor": -1.0}, "power_floor must be from 1e-37 to "),
        ({"power_floor": float("nan")}, "power_floor must be from 1e-37 to "),
        ({"power_floor": 1e-60}, "power_floor must be from 1e-37 to "),
    ],
)
def test_log_spectrogram_names_a_bad_argument(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        LogSpectrogram(**arguments)


def test_log_spectrogram_refuses_waveforms_shorter_than_a_window() -> None:
    with pytest.raises(ValueError, match="waveforms must be"):
        LogSpectrogram()(torch.randn(2, 399))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (DenseBlock(3, 2, 2), (2, 3, 5, 4)),
        (Transition(3, 2), (2, 3, 5, 4)),
        (Highway(4, 2), (3, 4)),
        (LSTM(4, 2), (2, 3, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_autocast_sets_the_dtype_of_a_layer(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(x)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, layer(x.bfloat16()))
