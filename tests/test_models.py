"""The five architectures: sizes, shapes, dropout, compilation."""

import pytest
import torch
from torch import Tensor, nn

from fastser.layers import Highway
from fastser.models import MODELS, Architecture, InputShape, LastStep, build_model
from fastser.settings import PAPER, QUICK, ModelSettings

PARAMETERS = {
    "cnn": 2_172_684,
    "cnn-lstm": 741_004,
    "densenet": 835_980,
    "densenet-lstm": 3_331_980,
    "proposed": 6_283_060,
}
SMALL = QUICK.model.model_copy(update={"layers_per_block": 2})
DROPOUT = {"cnn": ("head.1", "head.3"), "cnn-lstm": ("head.1", "head.3"), "proposed": ("context", "fuse")}
"""Modules before and after dropout, by model: ReLU and last layer, or the LSTM and the projection after it.

The DenseNets have no dropout (`docs/open-questions.md` 13).
"""


def _small(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, settings=SMALL, segment_frames=32, num_bins=32)


def test_models_are_those_of_the_paper_in_the_order_of_its_table_1() -> None:
    assert list(MODELS) == list(PARAMETERS)
    assert [architecture.title for architecture in MODELS.values()] == [
        "CNN",
        "CNN-LSTM",
        "DenseNet",
        "DenseNet-LSTM",
        "Proposed",
    ]


def test_a_registered_model_is_built_with_the_settings_and_the_shape_of_its_input() -> None:
    built: list[tuple[ModelSettings, InputShape]] = []

    def build(settings: ModelSettings, shape: InputShape) -> nn.Module:
        built.append((settings, shape))
        return nn.Sequential(nn.Flatten(), nn.Linear(shape.segment_frames * shape.num_bins, shape.num_classes))

    with MODELS.including(Architecture("linear", "Linear", build)):
        logits = build_model("linear", 7, SMALL, 32, 16)(torch.randn(2, 32, 16))
    assert logits.shape == (2, 7)
    assert built == [(SMALL, InputShape(num_classes=7, segment_frames=32, num_bins=16))]
    assert "linear" not in MODELS


@pytest.mark.parametrize("name", MODELS)
def test_published_sizes_have_the_parameters_of_the_ledger(name: str) -> None:
    model = build_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]
    assert model.eval()(torch.randn(1, 256, 128)).shape == (1, 4)


@pytest.mark.parametrize("stem", ["conv7x7-stride2", "conv7x7-stride2-maxpool", "conv3x3"])
@pytest.mark.parametrize("size", [(16, 16), (33, 47)])
@pytest.mark.parametrize("name", MODELS)
def test_any_stem_and_segment_size(name: str, size: tuple[int, int], stem: str) -> None:
    settings = SMALL.model_copy(update={"stem": stem, "compression": 0.5})
    assert build_model(name, 7, settings, *size)(torch.randn(2, *size)).shape == (2, 7)


def _gradients(run: nn.Module, model: nn.Module, x: Tensor, cotangent: Tensor) -> tuple[Tensor, ...]:
    """Return logits and all gradients of a training step without dropout."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    x = x.clone().requires_grad_()
    logits = run(x)
    return (logits, *torch.autograd.grad(logits, [x, *model.parameters()], cotangent))


@pytest.mark.parametrize("name", MODELS)
def test_compiles_without_a_graph_break(name: str) -> None:
    """The graph is compiled further, to the same gradients, in `tests/training/test_loss.py`."""
    eager, compiled = _small(name), _small(name)
    x, cotangent = torch.randn(3, 32, 32), torch.randn(3, 4)
    expected = _gradients(eager, eager, x, cotangent)
    torch._dynamo.reset()
    actual = _gradients(torch.compile(compiled, fullgraph=True, backend="eager"), compiled, x, cotangent)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    for key, value in eager.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", MODELS)
def test_eval_mode_treats_samples_alone_and_gives_input_gradients(name: str) -> None:
    model = _small(name).eval()
    x = torch.randn(5, 32, 32, requires_grad=True)
    logits = model(x)
    torch.testing.assert_close(model(x[2:3]), logits[2:3], rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(logits[0].max(), x)
    assert gradient[0].abs().max() > 0
    assert gradient[1:].abs().max() == 0


def test_weights_start_he_normal_and_gates_start_by_carrying() -> None:
    torch.manual_seed(0)
    model = build_model("proposed")
    weight = model.get_parameter("block2.denselayer6.conv.weight")
    assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.02)
    assert model.get_parameter("fuse.bias").abs().max() == 0
    highway = model.get_submodule("highway")
    assert isinstance(highway, Highway)
    assert all((gate.get_parameter("bias") == -1).all() for gate in highway.transform)


@pytest.mark.fast
@pytest.mark.parametrize("name", MODELS)
def test_dropout_has_the_settings_rate_and_is_where_the_paper_says(name: str) -> None:
    rate = 0.25
    torch.manual_seed(0)
    settings = SMALL.model_copy(update={"dropout": rate})
    model = build_model(name, settings=settings, segment_frames=32, num_bins=32).train()
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert [module.p for module in dropouts] == [rate] * (name in DROPOUT)
    assert PAPER.model.dropout == 0.5
    if name not in DROPOUT:
        return
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    before, after = DROPOUT[name]
    for place, module in {before: None, after: None, "dropout": dropouts[0]}.items():
        (module or model.get_submodule(place)).register_forward_hook(
            lambda _, inputs, output, place=place: seen.update({place: (inputs[0], output)})
        )
    model(torch.randn(64, 32, 32))
    kept, dropped = seen["dropout"]
    assert torch.equal(kept, seen[before][1])
    assert torch.equal(dropped, seen[after][0][:, -dropped.shape[1] :])
    gone = (dropped == 0) & (kept != 0)
    assert gone[kept != 0].float().mean().item() == pytest.approx(rate, abs=0.05)
    torch.testing.assert_close(dropped[~gone], kept[~gone] / (1 - rate))


@pytest.mark.parametrize(("place", "after", "width"), [("fuse", "fuse", 2 * 32), ("output", "output", 32)])
def test_dropout_of_proposed_has_other_places(place: str, after: str, width: int) -> None:
    torch.manual_seed(0)
    settings = SMALL.model_copy(update={"dropout_place": place})
    model = build_model("proposed", settings=settings, segment_frames=32, num_bins=32).train()
    seen: dict[str, Tensor] = {}
    model.dropout.register_forward_hook(lambda _, inputs, output: seen.update({"kept": inputs[0], "dropped": output}))
    model.get_submodule(after).register_forward_hook(lambda _, inputs, __: seen.update({"after": inputs[0]}))
    model(torch.randn(64, 32, 32))
    assert seen["dropped"].shape == (64, width)
    assert torch.equal(seen["dropped"], seen["after"])
    assert ((seen["dropped"] == 0) & (seen["kept"] != 0)).any()


@pytest.mark.parametrize("name", ["proposed", "densenet-lstm"])
def test_an_lstm_in_both_directions_feeds_both_last_states(name: str) -> None:
    settings = SMALL.model_copy(update={"lstm_directions": "both"})
    model = build_model(name, settings=settings, segment_frames=32, num_bins=32).eval()
    states: list[Tensor] = []
    lstm = next(module for module in model.modules() if isinstance(module, LastStep))
    lstm.register_forward_hook(lambda _, inputs, output: states.append(output))
    x = torch.randn(3, 32, 32)
    assert model(x).shape == (3, 4)
    assert states[0].shape == (3, 2 * SMALL.lstm_units)


@pytest.mark.parametrize("name", MODELS)
def test_a_small_batch_can_be_learnt(name: str) -> None:
    model = _small(name)
    x, y = torch.randn(8, 32, 32), torch.arange(8) % 4
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(x), y)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert min(losses[-5:]) < 0.5 * losses[0]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(LookupError, match=r"'densnet'.*'densenet'.*cnn, cnn-lstm, densenet, densenet-lstm, proposed"):
        build_model("densnet")
    with pytest.raises(ValueError, match="at least 16 frames"):
        build_model("cnn", segment_frames=8)
    with pytest.raises(ValueError, match="batch, frames, bins"):
        _small("cnn")(torch.randn(2, 1, 32, 32))
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        build_model("cnn", num_classes=0)
    with pytest.raises(TypeError, match="input must be floating point, got int64"):
        _small("cnn")(torch.zeros(2, 32, 32, dtype=torch.int64))


@pytest.mark.parametrize("name", MODELS)
def test_frames_and_bins_in_the_wrong_order_are_refused(name: str) -> None:
    """A DenseNet averages its maps, so that it would compute with any size."""
    model = build_model(name, settings=SMALL, segment_frames=48, num_bins=32)
    with pytest.raises(ValueError, match=r"bins = 32\], got \[2, 32, 48\]"):
        model(torch.randn(2, 32, 48))
