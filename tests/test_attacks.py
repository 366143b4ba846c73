"""Attacks against foolbox, and what they leave behind."""

import foolbox
import pytest
import torch
from torch import Tensor, nn

from fastser.attacks import BIM, FGSM
from fastser.models import build_model
from fastser.settings import QUICK

EPS, ALPHA, STEPS = 0.08, 0.08 / 20.4, 24


def _model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, widths=QUICK.widths, segment_frames=32, num_bins=32)


def _batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 32, 32, generator=generator), torch.randint(4, (6,), generator=generator)


def _foolbox(attack: foolbox.Attack, model: nn.Module, x: Tensor, y: Tensor, bounds: tuple[float, float]) -> Tensor:
    wrapped = foolbox.PyTorchModel(model.eval(), bounds=bounds, device="cpu")
    _, clipped, _ = attack(wrapped, x, y, epsilons=EPS)
    return clipped


@pytest.mark.parametrize("bounds", [(-100.0, 100.0), (-1.0, 1.0)])
@pytest.mark.parametrize("name", ["cnn", "proposed"])
def test_attacks_equal_foolbox(name: str, bounds: tuple[float, float]) -> None:
    model, (x, y) = _model(name), _batch()
    x = x.clamp(*bounds)
    fgsm = _foolbox(foolbox.attacks.LinfFastGradientAttack(random_start=False), model, x, y, bounds)
    torch.testing.assert_close(FGSM(model, EPS, bounds)(x, y), fgsm, rtol=0, atol=1e-6)
    attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=ALPHA, steps=STEPS, random_start=False)
    bim = _foolbox(attack, model, x, y, bounds)
    torch.testing.assert_close(BIM(model, EPS, ALPHA, STEPS, bounds)(x, y), bim, rtol=0, atol=1e-6)


def test_bim_raises_the_loss_more_than_fgsm_within_the_ball() -> None:
    model, (x, y) = _model("densenet-lstm"), _batch()
    fgsm, bim = FGSM(model, EPS)(x, y), BIM(model, EPS, ALPHA, STEPS)(x, y)
    model.eval()
    clean, by_fgsm, by_bim = (nn.functional.cross_entropy(model(v), y) for v in (x, fgsm, bim))
    assert clean < by_fgsm < by_bim
    assert (bim - x).abs().max() <= EPS + 1e-6
    assert not bim.requires_grad


def test_model_is_left_as_found_also_after_an_error() -> None:
    model, (x, y) = _model("proposed"), _batch()
    frozen = model.get_submodule("block1.denselayer1")
    frozen.eval().requires_grad_(False)
    modes = [module.training for module in model.modules()]
    trained = [parameter.requires_grad for parameter in model.parameters()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [torch.randn_like(parameter) for parameter in model.parameters()]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient.clone() if parameter.requires_grad else None
    x_before = x.clone()

    with torch.no_grad():
        BIM(model, EPS, ALPHA, 2)(x, y)
    with pytest.raises(ValueError, match="batch, frames, bins"):
        FGSM(model, EPS)(x[0], y)

    assert torch.equal(x, x_before)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == trained
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is None if not parameter.requires_grad else torch.equal(parameter.grad, gradient)


def test_only_the_input_gradient_is_computed() -> None:
    seen = []

    class Spy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((self.training, self.weight.requires_grad))
            return super().forward(x)

    model = Spy(8, 4)
    BIM(model, EPS, ALPHA, 3)(torch.randn(2, 8), torch.tensor([0, 3]))
    assert seen == [(False, False)] * 3


def test_bad_arguments_are_named() -> None:
    model = nn.Identity()
    with pytest.raises(ValueError, match="eps and alpha"):
        FGSM(model, -0.1)
    with pytest.raises(ValueError, match="steps"):
        BIM(model, 0.1, 0.01, 0)
    with pytest.raises(ValueError, match="bounds"):
        FGSM(model, 0.1, bounds=(1.0, 0.0))
