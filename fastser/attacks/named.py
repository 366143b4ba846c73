"""Attacks of the evaluation protocol, by name."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from fastser.attacks.bim import BIM, FGSM
from fastser.runtime.registry import Registry
from fastser.settings import AttackSettings

Attack = Callable[[Tensor, Tensor], Tensor]
"""Maps inputs `[N, ...]` and true labels `[N]` to adversarial inputs of the same shape."""


@dataclass(frozen=True, slots=True)
class NamedAttack:
    """An attack of the evaluation protocol.

    Attributes:
        name: Name of the condition, "bim".
        title: Title in tables, "BIM".
        build: Builds the attack on a model from the attack settings.
        steps: Number of input gradients that it takes, for the estimate of time.
    """

    name: str
    title: str
    build: Callable[[nn.Module, AttackSettings], Attack] = field(repr=False)
    steps: Callable[[AttackSettings], int] = field(repr=False)


def _bim(model: nn.Module, settings: AttackSettings) -> BIM:
    return BIM(model, settings.eps, settings.eps * settings.bim_relative_step, settings.bim_steps)


ATTACKS = Registry(
    "attack",
    [
        NamedAttack("fgsm", "FGSM", lambda model, settings: FGSM(model, settings.eps), lambda _: 1),
        NamedAttack("bim", "BIM", _bim, lambda settings: settings.bim_steps),
    ],
)
"""The attacks that every model of the source task is tested under, in the order of the paper's Table 3."""
