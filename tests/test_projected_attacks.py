"""PGD in both norms: against foolbox, torchattacks and BIM, and what bounds it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastser.attacks import BIM, PGD, PGDL2

EPS, STEPS = 0.3, 5


def batch() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a small network, inputs and labels."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4)).eval()
    return model, torch.randn(6, 12), torch.randint(4, (6,))


@pytest.mark.fast
def test_without_a_random_start_it_is_bim() -> None:
    model, x, y = batch()
    expected = BIM(model, EPS, 0.1, STEPS)(x, y)
    torch.testing.assert_close(PGD(model, EPS, 0.1, STEPS, random_start=False)(x, y), expected, rtol=0, atol=0)


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_is_foolboxs(random_start: bool) -> None:
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    model, x, y = batch()
    attack = PGD(model, EPS, 0.1, STEPS, random_start=random_start, seed=7)
    start = PGD(model, EPS, 0.1, STEPS, seed=7)._start(x) if random_start else x

    class FromStart(foolbox.attacks.LinfProjectedGradientDescentAttack):
        def get_random_start(self, x0: Any, epsilon: float) -> Any:
            return type(x0)(start)

    theirs = FromStart(abs_stepsize=0.1, steps=STEPS, random_start=random_start)
    wrapped = foolbox.PyTorchModel(model, bounds=(-100, 100), device="cpu")
    _, expected, _ = theirs(wrapped, x, y, epsilons=EPS)
    torch.testing.assert_close(attack(x, y), expected, rtol=1e-5, atol=1e-6)


def test_pgd_in_l2_is_foolboxs() -> None:
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    model, x, y = batch()
    theirs = foolbox.attacks.L2ProjectedGradientDescentAttack(abs_stepsize=0.1, steps=STEPS, random_start=False)
    wrapped = foolbox.PyTorchModel(model, bounds=(-100, 100), device="cpu")
    for one in range(len(x)):
        norm = float(x[one].norm())
        ours = PGDL2(model, EPS / norm, 0.1 / norm, STEPS)(x[[one]], y[[one]])
        _, expected, _ = theirs(wrapped, x[[one]], y[[one]], epsilons=EPS)
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_pgd_is_torchattacks() -> None:
    torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is not installed")
    model, x, y = batch()
    x = x.sigmoid()  # it clips to 0 and 1
    expected = torchattacks.PGD(model, eps=0.01, alpha=0.004, steps=STEPS, random_start=False)(x, y)
    torch.testing.assert_close(PGD(model, 0.01, 0.004, STEPS, random_start=False)(x, y), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.fast
def test_restarts_keep_the_worst_of_all() -> None:
    model, x, y = batch()

    def loss(adversarial: Tensor) -> Tensor:
        with torch.no_grad():
            return nn.functional.cross_entropy(model(adversarial), y, reduction="none")

    one, five = (PGD(model, EPS, 0.02, 2, restarts, seed=1)(x, y) for restarts in (1, 5))
    assert (loss(five) >= loss(one)).all()
    assert (loss(five) > loss(one)).any()


@pytest.mark.fast
@pytest.mark.parametrize("random_start", [False, True])
def test_perturbations_stay_in_their_ball(random_start: bool) -> None:
    model, x, y = batch()
    assert (PGD(model, EPS, 1.0, 3, random_start=random_start)(x, y) - x).abs().max() <= EPS + 1e-6
    change = PGDL2(model, 0.1, 1.0, 3, random_start=random_start)(x, y) - x
    torch.testing.assert_close(change.norm(dim=1) / x.norm(dim=1), torch.full((6,), 0.1))


@pytest.mark.fast
def test_the_same_seed_gives_the_same_attack() -> None:
    model, x, y = batch()
    first, second, other = (PGD(model, EPS, 0.1, 2, seed=seed)(x, y) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("arguments", "error", "part"),
    [
        ({"model": len}, TypeError, "model must be a torch.nn.Module"),
        ({"eps": -1.0}, ValueError, "finite and not negative"),
        ({"alpha": float("nan")}, ValueError, "finite and not negative"),
        ({"steps": 0}, ValueError, "at least 1"),
        ({"restarts": 0}, ValueError, "at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], part: str) -> None:
    usual = {"model": batch()[0], "eps": 0.1, "alpha": 0.1, "steps": 2}
    for attack in (PGD, PGDL2):
        with pytest.raises(error, match=part):
            attack(**usual | arguments)
