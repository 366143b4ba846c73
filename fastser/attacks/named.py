"""Attacks of the evaluation protocol, by name."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from fastser.attacks.bim import BIM, FGSM
from fastser.runtime.registry import Registry
from fastser.settings import AttackSettings

Attack = Callable[[Tensor, Tensor], Tensor]
"""Maps inputs `[N, ...]` and true labels `[N]` to adversarial inputs of the same shape."""

Range = tuple[float, float]
"""Smallest and largest value."""


@dataclass(frozen=True, slots=True)
class NamedAttack:
    """An attack of the evaluation protocol.

    Attributes:
        name: Name of the condition, "bim".
        title: Title in tables, "BIM".
        build: Builds the attack on a model from the attack settings, and from the smallest and largest input of the
            test set where eps is in units of their range (else None).
        steps: Number of input gradients that it takes, for the estimate of time.
    """

    name: str
    title: str
    build: Callable[[nn.Module, AttackSettings, Range | None], Attack] = field(repr=False)
    steps: Callable[[AttackSettings], int] = field(repr=False)


def input_eps(settings: AttackSettings, bounds: Range | None) -> float:
    """Return eps in units of the model's input (open question 31).

    Args:
        settings: Attack settings.
        bounds: Smallest and largest input of the test set where eps is in units of their range, else None. An eps of
            the range belongs to inputs between 0 and 1, which are clipped there. These are clipped at the bounds.
    """
    return settings.eps if bounds is None else settings.eps * (bounds[1] - bounds[0])


def _fgsm(model: nn.Module, settings: AttackSettings, bounds: Range | None) -> FGSM:
    return FGSM(model, input_eps(settings, bounds), bounds)


def _bim(model: nn.Module, settings: AttackSettings, bounds: Range | None) -> BIM:
    eps = input_eps(settings, bounds)
    return BIM(model, eps, eps * settings.bim_relative_step, settings.bim_steps, bounds)


ATTACKS = Registry(
    "attack",
    [
        NamedAttack("fgsm", "FGSM", _fgsm, lambda _: 1),
        NamedAttack("bim", "BIM", _bim, lambda settings: settings.bim_steps),
    ],
)
"""The attacks that every model of the source task is tested under, in the order of the paper's Table 3."""
