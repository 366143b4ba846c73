"""Layers with inner modules that users changed: the same values, gradients and buffers as calls of these modules."""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
from fastser_kernels import reference_kernels
from layer_cases import LAYERS, assert_same, called, results, twin
from torch import Tensor, nn
from torch.ao.quantization import quantize_dynamic
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm
from torch.optim.swa_utils import update_bn

from fastser.layers import LSTM, DenseBlock, DenseLayer, Highway, Transition

Habit = Callable[[nn.Module], object]
paths = pytest.mark.parametrize("path", ["operations", "references"], indirect=True)
every_layer = pytest.mark.parametrize("name", LAYERS)
layers_with_norms = pytest.mark.parametrize("name", ["DenseLayer", "DenseBlock", "Transition", "FusedSequential"])


class Twice(nn.Module):
    """Parametrization by twice the value."""

    def forward(self, value: Tensor) -> Tensor:
        return 2 * value


def _with_weights(layer: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return the inner modules with weights, and the name of the weight. An LSTM holds its weights itself."""
    if isinstance(layer, LSTM | nn.LSTM):
        return [(layer, "weight_ih_l0"), (layer, "weight_hh_l0_reverse")]
    return [(module, "weight") for module in layer.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _norms(layer: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in layer.modules() if isinstance(module, nn.BatchNorm2d)]


def _pruned_for_good(module: nn.Module, name: str) -> None:
    prune.l1_unstructured(module, name, 0.5)
    prune.remove(module, name)


OF_WEIGHTS: dict[str, Callable[[nn.Module, str], object]] = {
    "spectral_norm": spectral_norm,
    "weight_norm": weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
    "parametrized weight_norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "own parametrization": lambda module, name: parametrize.register_parametrization(module, name, Twice()),
    "pruned": lambda module, name: prune.l1_unstructured(module, name, 0.5),
    "pruned for good": _pruned_for_good,
    "frozen": lambda module, name: getattr(module, name).requires_grad_(False),
}


def _double(module: nn.Module, args: object, output: Tensor) -> Tensor:
    return 2 * output


def _own_forward(module: nn.Module) -> None:
    original = module.forward
    module.forward = lambda x: 3 * original(x)


OF_CALLS: dict[str, Habit] = {
    "forward hook": lambda module: module.register_forward_hook(_double),
    "forward pre-hook": lambda module: module.register_forward_pre_hook(lambda _, args: (3 * args[0],)),
    "backward hook": lambda module: module.register_full_backward_hook(lambda _, grads, __: (2 * grads[0],)),
    "backward pre-hook": lambda module: module.register_full_backward_pre_hook(lambda _, grads: (2 * grads[0],)),
    "own forward": _own_forward,
}


def _set(**values: object) -> Habit:
    def habit(norm: nn.Module) -> None:
        for name, value in values.items():
            setattr(norm, name, value)

    return habit


OF_NORMS: dict[str, Habit] = {
    "own eps": _set(eps=10.0),
    "own momentum": _set(momentum=0.7),
    "integer momentum": _set(momentum=1),
    "no momentum": _set(momentum=None),
    "no tracking": _set(track_running_stats=False),
    "no running statistics": _set(track_running_stats=False, running_mean=None, running_var=None),
    "frozen": lambda norm: norm.eval(),
    "no scale": _set(weight=None, bias=None),
}

REPLACEMENTS: dict[str, Callable[[int], nn.Module]] = {
    "InstanceNorm2d": lambda channels: nn.InstanceNorm2d(channels, affine=True, track_running_stats=True),
    "GroupNorm": lambda channels: nn.GroupNorm(1, channels),
    "Identity": lambda channels: nn.Identity(),
    "BatchNorm2d without parameters": lambda channels: nn.BatchNorm2d(channels, affine=False),
}


@pytest.fixture
def path(request: pytest.FixtureRequest, own_operations: None) -> Iterator[str]:
    """The operations, or the references."""
    with reference_kernels() if request.param == "references" else nullcontext():
        yield str(request.param)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """weight_norm and quantisation warn that they are old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _compare(name: str, habit: Habit, training: bool, size: str = "small") -> None:
    case = LAYERS[name]
    ours, plain = case.build(), twin(case)
    for layer in (ours.train(training), plain.train(training)):
        torch.manual_seed(3)
        habit(layer)
    plain.load_state_dict(ours.state_dict())
    x = case.input(size)
    assert_same(results(ours, ours, x), results(lambda x: called(plain, x), plain, x))


@paths
@pytest.mark.parametrize(
    ("name", "habit"),
    [
        (name, habit)
        for name in LAYERS
        for habit in OF_WEIGHTS
        if (name, habit) != ("LSTM", "parametrized spectral_norm")  # nn.LSTM keeps the weights of its first call
    ],
)
def test_weights_that_are_computed_or_frozen(name: str, path: str, habit: str) -> None:
    def apply(layer: nn.Module) -> None:
        for module, weight in _with_weights(layer)[:2]:
            OF_WEIGHTS[habit](module, weight)

    _compare(name, apply, training=True)


@paths
@pytest.mark.parametrize("name", ["DenseLayer", "DenseBlock", "Transition", "FusedSequential", "Highway"])
@pytest.mark.parametrize("habit", OF_CALLS)
def test_calls_of_inner_modules_are_observed(name: str, path: str, habit: str) -> None:
    def apply(layer: nn.Module) -> None:
        for module in [*_norms(layer)[-1:], _with_weights(layer)[0][0]]:
            OF_CALLS[habit](module)

    _compare(name, apply, training=True)


@paths
@layers_with_norms
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("habit", OF_NORMS)
def test_norms_with_settings_of_their_own(name: str, path: str, habit: str, training: bool) -> None:
    _compare(name, lambda layer: OF_NORMS[habit](_norms(layer)[-1]), training)


@paths
@layers_with_norms
@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_replaced_norms(name: str, path: str, replacement: str) -> None:
    def apply(layer: nn.Module) -> None:
        place = [name for name, module in layer.named_modules() if isinstance(module, nn.BatchNorm2d)][-1]
        channels = layer.get_submodule(place).num_features
        layer.set_submodule(place, REPLACEMENTS[replacement](channels).double())

    _compare(name, apply, training=True)


@paths
@pytest.mark.parametrize("name", ["DenseLayer", "DenseBlock", "Transition"])
@pytest.mark.parametrize(
    "options",
    [{"bias": True}, {"padding_mode": "circular"}, {"kernel_size": 5}, {"groups": 2}, {"dilation": 2}],
    ids=lambda options: next(iter(options)),
)
def test_replaced_convolutions(name: str, path: str, options: dict[str, object]) -> None:
    def apply(layer: nn.Module) -> None:
        holder = next(module for module in layer.modules() if isinstance(module, DenseLayer | Transition))
        old = holder.conv
        kernel, dilation = int(options.get("kernel_size", 3)), int(options.get("dilation", 1))
        padding = dilation * (kernel // 2)
        arguments = {"kernel_size": kernel, "padding": padding, "bias": False} | options
        outputs = 4
        holder.conv = nn.Conv2d(old.in_channels, outputs, **arguments).double()

    _compare(name, apply, training=True)


@paths
@pytest.mark.parametrize("name", ["DenseLayer", "DenseBlock", "Transition", "Highway"])
def test_wrapped_modules(name: str, path: str) -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Tensor) -> Tensor:
            return self.module(x) + 1

    def apply(layer: nn.Module) -> None:
        for holder in list(layer.modules()):
            if isinstance(holder, DenseLayer | Transition):
                holder.conv, holder.norm = Wrapper(holder.conv), Wrapper(holder.norm)
        if isinstance(layer, Highway):
            layer.transform[1] = Wrapper(layer.transform[1])

    _compare(name, apply, training=True)


@layers_with_norms
@pytest.mark.parametrize("habit", [None, "own parametrization", "forward hook", "own momentum"])
def test_large_inputs(name: str, habit: str | None) -> None:
    """A block runs its other layers as operations."""

    def apply(layer: nn.Module) -> None:
        norm, (conv, weight) = _norms(layer)[-1], _with_weights(layer)[-1]
        if habit in OF_WEIGHTS:
            OF_WEIGHTS[habit](conv, weight)
        elif habit is not None:
            (OF_CALLS | OF_NORMS)[habit](norm)

    _compare(name, apply, training=True, size="large")


@pytest.mark.parametrize("name", ["DenseBlock", "Transition", "FusedSequential", "Highway"])
def test_compiled_layers_call_what_is_not_plain(name: str) -> None:
    layer, x = LAYERS[name].build().eval(), LAYERS[name].input()
    for module, weight in _with_weights(layer)[:1]:
        module.register_forward_hook(_double)
        parametrize.register_parametrization(module, weight, Twice())
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
    assert not torch.allclose(layer(x), LAYERS[name].build().eval()(x))


@pytest.mark.fast
def test_every_hook_inside_a_block_fires_once_per_call() -> None:
    block, seen = DenseBlock(6, 4, 2).double(), []
    first = block.get_submodule("denselayer1")
    inner = [first, first.get_submodule("norm"), first.get_submodule("conv")]
    for module in inner:
        module.register_forward_hook(lambda module, *_: seen.append(module))
    block(LAYERS["DenseBlock"].input())
    assert set(map(id, seen)) == set(map(id, inner))
    assert len(seen) == len(inner)


@every_layer
def test_hooks_on_all_modules_see_the_inner_modules(name: str) -> None:
    case, seen = LAYERS[name], []
    layer = case.build()
    handle = register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        layer(case.input())
    finally:
        handle.remove()
    called_ones = [module for module in layer.modules() if not isinstance(module, nn.ModuleList)]
    assert set(map(id, seen)) == set(map(id, called_ones))


@pytest.mark.fast
def test_a_layer_of_a_block_can_be_replaced() -> None:
    case = LAYERS["DenseBlock"]
    block, expected = case.build(), case.build()
    block.denselayer2 = nn.Identity()
    with pytest.raises(ValueError, match=r"conv_weight\[0\] must be \[G, 10, 3, 3\]"):
        block(case.input())
    block.denselayer3 = DenseLayer(10, 4).double()
    x = case.input()
    first = expected.get_submodule("denselayer1")(x)
    torch.testing.assert_close(block(x), block.denselayer3(first))


@pytest.mark.fast
@pytest.mark.parametrize("name", ["DenseBlock", "Transition"])
def test_sync_batch_norm_works_in_eval_and_is_refused_in_training_on_a_cpu(name: str) -> None:
    case = LAYERS[name]
    plain = case.build().eval()
    layer = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
    x = case.input()
    torch.testing.assert_close(layer(x), plain(x))
    with pytest.raises(ValueError, match="SyncBatchNorm does not synchronise on a CPU"):
        layer.train()(x)


@paths
@every_layer
def test_functional_call_uses_the_given_tensors(name: str, path: str) -> None:
    case = LAYERS[name]
    layer, other = case.build(), case.build(seed=5)
    x = case.input()
    state = {key: value.clone() for key, value in other.state_dict().items()}
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    torch.testing.assert_close(torch.func.functional_call(layer, state, x), other(x), rtol=1e-7, atol=1e-8)
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    for key, value in other.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=1e-7, atol=1e-8)


@paths
@every_layer
def test_copies_and_assigned_states(name: str, path: str) -> None:
    case = LAYERS[name]
    layer, other = case.build(), case.build(seed=5)
    x = case.input()
    layer.load_state_dict(copy.deepcopy(other.state_dict()), assign=True)
    copied = copy.deepcopy(layer)
    expected = results(other, other, x)
    assert_same(results(layer, layer, x), expected)
    assert_same(results(copied, copied, x), expected)


@paths
@every_layer
def test_autocast_leaves_float64_alone(name: str, path: str) -> None:
    case = LAYERS[name]
    ours, plain = case.build(), twin(case)
    x = case.input()
    expected = results(lambda x: called(plain, x), plain, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(results(ours, ours, x), expected)


@paths
@every_layer
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_modules_in_other_dtypes(name: str, path: str, dtype: torch.dtype) -> None:
    """The mean error is that of a few roundings. Single gradients differ where a ReLU's input is near zero."""
    case = LAYERS[name]
    ours, exact = case.build().to(dtype), twin(case)
    exact.load_state_dict({key: value.double() for key, value in ours.state_dict().items()})
    x = case.input().to(dtype)
    actual, expected = results(ours, ours, x), results(lambda x: called(exact, x), exact, x.double())
    for key, value in expected.items():
        error = (actual[key].double() - value).abs().mean()
        assert error <= 16 * torch.finfo(dtype).eps * value.double().abs().mean().clamp(min=1e-3), key
        assert actual[key].dtype in (dtype, torch.int64)


@pytest.mark.fast
def test_quantised_layers_of_a_highway_are_called() -> None:
    torch.manual_seed(0)
    layer, x = Highway(8, 2).eval(), torch.randn(3, 8)
    quantised = quantize_dynamic(layer, {nn.Linear})
    expected = x
    for hidden, gate in zip(quantised.hidden, quantised.transform, strict=True):
        expected = torch.lerp(expected, torch.relu(hidden(expected)), torch.sigmoid(gate(expected)))
    assert torch.equal(quantised(x), expected)
    assert not torch.equal(expected, layer(x))


@paths
@layers_with_norms
def test_update_bn_takes_the_average_over_all_batches(name: str, path: str) -> None:
    case = LAYERS[name]
    ours, plain = case.build(), case.build()
    batches = [case.input(), 2 * case.input() + 1]
    update_bn(batches, ours)
    for norm in _norms(plain):
        norm.reset_running_stats()
        norm.momentum = None
    for batch in batches:
        called(plain, batch)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-7, atol=1e-8)


@pytest.mark.fast
@pytest.mark.parametrize("habit", OF_CALLS)
def test_hooks_of_a_relu_are_called(habit: str) -> None:
    case = LAYERS["FusedSequential"]
    ours, plain = case.build(), case.build()
    for layer in (ours, plain):
        OF_CALLS[habit](layer.get_submodule("1"))
    x = case.input()
    assert_same(results(ours, ours, x), results(lambda x: called(plain, x), plain, x))


@pytest.mark.fast
@pytest.mark.parametrize("habit", ["weight_norm", "parametrized weight_norm", "pruned"])
def test_the_last_state_of_an_lstm_follows_its_hooks(habit: str) -> None:
    layer, x = LSTM(4, 3), torch.randn(2, 5, 4)
    OF_WEIGHTS[habit](layer, "weight_hh_l0")
    calls: list[object] = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(1.5)
    torch.testing.assert_close(layer.last(x), layer(x)[:, -1])
    assert len(calls) == 2
