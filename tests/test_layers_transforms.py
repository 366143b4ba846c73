"""Layers under in-place changes, higher derivatives, torch.func, forward-mode AD, inference mode and torch.compile.

Each test runs with the reference, which computes small inputs on a CPU, and with the operations, which compute large
ones. Both must do what plain modules do.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from fastser_kernels import reference_kernels
from layer_cases import LAYERS, LayerCase, assert_same, called, results, twin
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, jacrev, jvp, vjp, vmap

from fastser.layers import LSTM, LogSpectrogram, Transition

CASES = LAYERS | {"LogSpectrogram": LayerCase(lambda: LogSpectrogram(8, 4, 8, 5), (2, 30), (40, 300))}
paths = pytest.mark.parametrize("path", ["operations", "references"], indirect=True)
every_layer = pytest.mark.parametrize("name", CASES)
training_and_eval = pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])


@pytest.fixture
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """The operations, or the references."""
    with reference_kernels() if request.param == "references" else nullcontext():
        yield str(request.param)


def _smooth(case: LayerCase) -> tuple[nn.Module, Tensor]:
    """Return a layer and an input for finite differences: no input of a ReLU is near zero."""
    layer, x = case.build(), case.input()
    with torch.no_grad():
        for module in layer.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.mul_(0.1)
                module.bias.copy_(torch.tensor([1.0, -1.0]).repeat(module.num_features)[: module.num_features])
                module.running_mean = x.mean() + 0.1 * torch.randn(module.num_features).double()
            elif isinstance(module, nn.ModuleList):
                for linear in module:
                    linear.bias.copy_(torch.tensor([8.0, -8.0, 9.0, -9.0]))
    return layer, x


@paths
@every_layer
@training_and_eval
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_result_may_be_changed_in_place(name: str, path: str, training: bool, dtype: torch.dtype) -> None:
    if name == "LogSpectrogram" and dtype == torch.bfloat16:
        dtype = torch.float32  # its dtypes are float32 and float64
    layer = CASES[name].build().to(dtype).train(training)
    x = CASES[name].input().to(dtype)
    twins = copy.deepcopy(layer), copy.deepcopy(layer)
    changed = results(nn.Sequential(twins[0], nn.ReLU(inplace=True)), twins[0], x)
    expected = results(nn.Sequential(twins[1], nn.ReLU()), twins[1], x)
    assert_same(changed, expected, rtol=0, atol=0)


def test_the_result_is_copied_only_where_it_is_changed() -> None:
    address = torch._C._data_address
    y = CASES["DenseBlock"].build()(CASES["DenseBlock"].input())
    assert y.grad_fn is not None
    saved = y.grad_fn.next_functions[0][0].saved_tensors[0]  # type: ignore[union-attr]
    for reader in (Transition(18, 4), nn.BatchNorm2d(18), nn.Conv2d(18, 2, 3), nn.MaxPool2d(2), nn.ReLU()):
        reader.double()(y).sum().backward(retain_graph=True)
    assert address(y) == address(saved)
    y.relu_()
    assert address(y) != address(saved)
    assert y.min() == 0 > saved.min()


@paths
@every_layer
@training_and_eval
def test_second_derivatives(name: str, path: str, training: bool) -> None:
    layer, x = _smooth(CASES[name])
    layer.train(training)
    names = [key for key, _ in layer.named_parameters()]
    state = {key: value.clone() for key, value in layer.named_buffers()}

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        buffers = {key: value.clone() for key, value in state.items()}
        result: Tensor = functional_call(layer, dict(zip(names, parameters, strict=True)) | buffers, x)
        return result

    inputs = [x, *(parameter.detach() for parameter in layer.parameters())]
    inputs = [value.clone().requires_grad_() for value in inputs]
    assert gradcheck(run, inputs, fast_mode=True)
    assert gradgradcheck(run, inputs, fast_mode=True, atol=1e-4)


@paths
@every_layer
def test_a_gradient_penalty_trains_a_layer_with_frozen_parts(name: str, path: str) -> None:
    """The penalty is a function of first derivatives. Hooks on parameters see each gradient once."""
    gradients = []
    for layer, run in _pairs(name):
        x = CASES[name].input().requires_grad_()
        parameters = list(layer.parameters())
        for parameter in parameters[::2]:
            parameter.requires_grad_(False)
        seen: list[Tensor] = []
        for parameter in parameters[1::2]:
            parameter.register_hook(seen.append)
        (slope,) = torch.autograd.grad(run(x).square().sum(), x, create_graph=True)
        slope.square().sum().backward()
        assert len(seen) == len({id(value) for value in seen}) <= len(parameters)
        assert x.grad is not None
        gradients.append([x.grad, *(p.grad for p in parameters if p.grad is not None)])
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-8)


def _pairs(name: str) -> list[tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """Return a layer with itself, and its twin with the calls of the twin's inner modules."""
    case = CASES[name]
    layer = case.build()
    if name == "LogSpectrogram":
        return [(layer, layer), (case.build(), _with_stft)]
    plain = twin(case)
    return [(layer, layer), (plain, lambda x: called(plain, x))]


def _with_stft(x: Tensor) -> Tensor:
    window = torch.hamming_window(8, dtype=torch.float64).float().double()
    spectrum = torch.stft(x, 8, 4, 8, window, center=False, return_complex=True)
    return (torch.view_as_real(spectrum).square().sum(-1) + 1e-10).log10().mul(10.0).transpose(1, 2)


TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor], object]] = {
    "grad": lambda f, x: grad(lambda x: f(x).square().sum())(x),
    "vjp": lambda f, x: vjp(f, x)[1](f(x).cos()),
    "grad of grad": lambda f, x: grad(lambda x: grad(lambda x: f(x).square().sum())(x).square().sum())(x),
    "jvp": lambda f, x: jvp(f, (x,), (x.cos(),)),
    "jvp of grad": lambda f, x: jvp(grad(lambda x: f(x).square().sum()), (x,), (x.cos(),)),
    "vmap": lambda f, x: vmap(f)(torch.stack([x, x.cos()])),
    "vmap of grad": lambda f, x: vmap(grad(lambda x: f(x[None]).square().sum()))(x),
    "jacrev": lambda f, x: jacrev(f)(x[:1]),
}


@paths
@every_layer
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_function_transforms(name: str, path: str, transform: str) -> None:
    layer, x = CASES[name].build().eval(), CASES[name].input()
    plain = {"LogSpectrogram": _with_stft, "LSTM": partial(_by_steps, layer)}.get(name, partial(called, layer))
    actual, expected = TRANSFORMS[transform](layer, x), TRANSFORMS[transform](plain, x)
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-8)


def _by_steps(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the states of an LSTM cell by cell, since nn.LSTM has no rules for torch.vmap and forward-mode AD."""
    assert isinstance(layer, LSTM)
    directions = []
    for suffix, backwards in (("_l0", False), ("_l0_reverse", True)):
        weights = [getattr(layer, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        h = c = x[:, 0, :1] * torch.zeros(layer.hidden_size, dtype=x.dtype)
        states = []
        for step in (x.flip(1) if backwards else x).unbind(1):
            gates = step @ weights[0].T + weights[2] + h @ weights[1].T + weights[3]
            i, f, g, o = gates.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        directions.append(torch.stack(states[::-1] if backwards else states, 1))
    return torch.cat(directions, 2)


@paths
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_each_sample(name: str, path: str) -> None:
    layer, x = CASES[name].build().eval(), CASES[name].input()
    parameters = {key: value.detach() for key, value in layer.named_parameters()}

    def loss(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        result: Tensor = functional_call(layer, parameters, (sample[None],))
        return result.square().sum()

    together = vmap(grad(loss), (None, 0))(parameters, x)
    for i, sample in enumerate(x):
        for key, value in grad(loss)(parameters, sample).items():
            torch.testing.assert_close(together[key][i], value, rtol=1e-7, atol=1e-8)


@paths
@every_layer
def test_a_batch_of_cotangents_equals_one_after_another(name: str, path: str) -> None:
    layer, x = CASES[name].build(), CASES[name].input().requires_grad_()
    y = layer(x)
    cotangents = torch.stack([y.detach().cos(), y.detach().sin()])
    (together,) = torch.autograd.grad(y, x, cotangents, retain_graph=True, is_grads_batched=True)
    for actual, cotangent in zip(together, cotangents, strict=True):
        expected = torch.autograd.grad(y, x, cotangent, retain_graph=True)[0]
        torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-8)


@paths
@every_layer
def test_forward_mode(name: str, path: str) -> None:
    layer, x = CASES[name].build().eval(), CASES[name].input()
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, x.cos()))).tangent
    torch.testing.assert_close(tangent, jvp(layer, (x,), (x.cos(),))[1])
    step = 1e-6
    difference = (layer(x + step * x.cos()) - layer(x - step * x.cos())).detach() / (2 * step)
    torch.testing.assert_close(tangent, difference, rtol=1e-4, atol=1e-5)


@paths
@every_layer
@training_and_eval
def test_inference_mode(name: str, path: str, training: bool) -> None:
    layer, x = CASES[name].build().train(training), CASES[name].input()
    other = copy.deepcopy(layer)
    with torch.inference_mode():
        actual = layer(x)
        actual.relu_()
    assert_same(
        {"y": actual, **dict(layer.named_buffers())}, {"y": other(x).detach().relu(), **dict(other.named_buffers())}
    )


SHAPES = {  # no two sizes are equal, since equal sizes would share a symbol
    "DenseLayer": ((2, 6, 5, 4), (3, 6, 420, 430)),
    "DenseBlock": ((2, 6, 5, 4), (3, 6, 280, 290)),
    "Highway": ((3, 4), (1000, 4)),
    "LSTM": ((3, 5, 4), (64, 5, 4)),
    "LogSpectrogram": ((2, 30), (40, 300)),
    "Transition": ((2, 6, 5, 4), (3, 6, 610, 620)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_compiled_layers_are_not_compiled_again_for_large_inputs(name: str) -> None:
    layer = CASES[name].build().float()
    torch._dynamo.reset()
    function = torch.compile(copy.deepcopy(layer), fullgraph=True, dynamic=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for shape in (*SHAPES[name], SHAPES[name][0]):
            x = torch.randn(shape, requires_grad=True)
            torch.testing.assert_close(function(x), layer(x), rtol=1e-3, atol=1e-4)
            function(x).sum().backward()


@paths
@pytest.mark.parametrize("name", CASES)
def test_a_compiled_function_transform(name: str, path: str) -> None:
    layer, x = CASES[name].build().eval(), CASES[name].input()

    def slope(x: Tensor) -> Tensor:
        return grad(lambda x: layer(x).square().sum())(x)

    torch._dynamo.reset()
    compiled = torch.compile(slope, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), slope(x), rtol=1e-7, atol=1e-8)
