"""Attacks in every mode of autograd and on every kind of model. Each leaves the model as it was."""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn

from fastser.attacks import BIM, FGSM, Attack
from fastser.models import MODELS, build_model
from fastser.settings import QUICK

MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "enable_grad": torch.enable_grad,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}
ATTACKS: dict[str, Callable[[nn.Module], Attack]] = {
    "fgsm": lambda model: FGSM(model, 0.1),
    "bim": lambda model: BIM(model, 0.1, 0.02, 4),
}
every_mode = pytest.mark.parametrize("mode", MODES)
every_attack = pytest.mark.parametrize("attack", ATTACKS)


class Small(nn.Module):
    """Classifier with parts in different modes, a frozen part and gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(torch.relu(self.norm(self.first(x))))
        return y


def _small() -> Small:
    torch.manual_seed(0)
    model = Small()
    model.norm.eval()
    model.last.weight.requires_grad_(False)
    model.first.weight.grad = torch.randn(8, 8)
    return model


def _batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 8, generator=generator), torch.randint(4, (6,), generator=generator)


def _flags(model: nn.Module) -> list[object]:
    parameters = [(p.requires_grad, None if p.grad is None else p.grad.tolist()) for p in model.parameters()]
    return [[module.training for module in model.modules()], parameters, [b.tolist() for b in model.buffers()]]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """torch.jit warns that it is old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.fast
@every_mode
@every_attack
def test_examples_are_the_same_ordinary_tensors_in_every_mode(attack: str, mode: str) -> None:
    model, (x, y) = _small(), _batch()
    expected, flags = ATTACKS[attack](model)(x, y), _flags(model)
    with MODES[mode]():
        actual = ATTACKS[attack](model)(x, y)
        of_copies = ATTACKS[attack](model)(x.clone(), y.clone())  # inference tensors in inference mode
        assert torch.is_inference_mode_enabled() == (mode == "inference_mode")
        assert torch.is_grad_enabled() == (mode == "enable_grad")
    for result in (actual, of_copies):
        assert torch.equal(result, expected)
        assert not result.is_inference()
        assert not result.requires_grad
    assert (actual.requires_grad_() * 2).sum().backward() is None
    assert _flags(model) == flags


@pytest.mark.fast
@every_attack
def test_a_model_that_was_built_in_inference_mode(attack: str) -> None:
    x, y = _batch()
    expected = ATTACKS[attack](_small())(x, y)
    with torch.inference_mode():
        model = _small()
        flags = _flags(model)
        assert torch.equal(ATTACKS[attack](model)(x, y), expected)
    assert torch.equal(ATTACKS[attack](model)(x, y), expected)
    assert _flags(model) == flags


def _scripted(model: nn.Module) -> nn.Module:
    scripted: nn.Module = torch.jit.script(model)
    return scripted


def _compiled(model: nn.Module) -> nn.Module:
    torch._dynamo.reset()
    compiled: nn.Module = torch.compile(model, backend="aot_eager")  # type: ignore[assignment]
    return compiled


def _with_hooks(model: nn.Module) -> nn.Module:
    model.get_submodule("first").register_forward_hook(lambda *_: None)
    model.register_full_backward_hook(lambda *_: None)
    next(model.parameters()).register_hook(lambda gradient: gradient)
    return model


def _without_gradients(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


@every_mode
@every_attack
@pytest.mark.parametrize("wrap", [_scripted, _compiled, _with_hooks, _without_gradients, nn.Sequential])
def test_wrapped_models(wrap: Callable[[nn.Module], nn.Module], attack: str, mode: str) -> None:
    x, y = _batch()
    expected = ATTACKS[attack](_small())(x, y)
    model = wrap(_small())
    flags = _flags(model)
    with MODES[mode]():
        actual = ATTACKS[attack](model)(x, y)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)
    assert _flags(model) == flags


@pytest.mark.fast
@every_mode
@every_attack
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_models_in_other_dtypes(dtype: torch.dtype, attack: str, mode: str) -> None:
    model, (x, y) = _small().to(dtype), _batch()
    flags = _flags(model)
    with MODES[mode]():
        result = ATTACKS[attack](model)(x.to(dtype), y)
    assert result.dtype == dtype
    change = (result - x.to(dtype)).abs().double()
    assert 0 < change.max() <= 0.1 + 4 * torch.finfo(dtype).eps
    assert _flags(model) == flags


class Failing(Small):
    """Model that fails in a given step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left == 0:
            raise ArithmeticError("in the middle")
        return super().forward(x)


class Stubborn(Small):
    """Model that fails when it is put into eval mode, after its first part was."""

    def train(self, mode: bool = True) -> "Stubborn":
        self.first.train(mode)
        raise ArithmeticError("in the middle")


@pytest.mark.fast
@every_mode
@pytest.mark.parametrize("make", [lambda: Failing(1), lambda: Failing(3), Stubborn], ids=["first", "third", "eval"])
def test_a_model_that_fails_is_left_as_it_was(make: Callable[[], Small], mode: str) -> None:
    model, (x, y) = make(), _batch()
    model.norm.training = False
    model.last.bias.requires_grad_(False)
    flags = _flags(model)
    with MODES[mode](), pytest.raises(ArithmeticError, match="in the middle"):
        BIM(model, 0.1, 0.02, 5)(x, y)
    assert _flags(model) == flags
    assert not torch.is_inference_mode_enabled()


class Attacked(nn.Module):
    """Model whose forward pass attacks the model inside it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        labels = torch.zeros(len(x), dtype=torch.int64)
        moved = FGSM(self.inner, 0.01)(x, labels) - x.detach()
        y: Tensor = self.inner(x + moved)
        return y


@pytest.mark.fast
@every_mode
def test_nested_attacks(mode: str) -> None:
    model, (x, y) = Attacked(_small()), _batch()
    flags = _flags(model)
    expected = BIM(copy.deepcopy(model), 0.1, 0.02, 3)(x, y)
    with MODES[mode]():
        assert torch.equal(BIM(model, 0.1, 0.02, 3)(x, y), expected)
    assert _flags(model) == flags


@every_mode
@pytest.mark.parametrize("name", MODELS)
def test_the_models_of_the_paper(name: str, mode: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, settings=QUICK.model, segment_frames=32, num_bins=32)
    x, y = torch.randn(2, 32, 32), torch.tensor([0, 3])
    expected = FGSM(model, 0.1)(x, y)
    with MODES[mode](), nullcontext() if mode != "no_grad" else torch.autocast("cpu", enabled=False):
        assert torch.equal(FGSM(model, 0.1)(x.clone(), y.clone()), expected)
