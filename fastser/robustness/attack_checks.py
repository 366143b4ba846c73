"""Signs that an attack is weaker than it looks, as plain sentences.

A network can seem robust because gradients do not reach the attack. The checks are those of AutoAttack (Croce and Hein
2020), and two of Carlini et al. 2019: a larger radius must not be weaker, and more steps must not be weaker than one.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastser.attacks import Attack, input_eps
from fastser.attacks.bim import frozen_in_eval_mode, gradient_of_loss
from fastser.evaluation.adapter import AdaptedModel
from fastser.evaluation.condition import Condition
from fastser.evaluation.conditions import Attacked, CurvePoint
from fastser.evaluation.further_conditions import PGDAttacked
from fastser.evaluation.trial import Trial

_MARGIN = 0.01
"""UAR by which one condition must exceed another before it counts."""

_SATURATED = 1e-6


@dataclass(frozen=True)
class RandomSigns(Condition):
    """Random signs of the size of FGSM, which any attack with gradients should beat."""

    @property
    def name(self) -> str:
        """Name, "random-signs"."""
        return "random-signs"

    def posteriors(self, trial: Trial) -> Tensor:
        """Return the posteriors with random signs added to the model's input."""
        generator = torch.Generator().manual_seed(trial.noise_seed)

        bounds = trial.attack_bounds
        eps = input_eps(trial.settings.attack, bounds)

        def attack(x: Tensor, _labels: Tensor) -> Tensor:
            moved: Tensor = x + eps * (2 * torch.randint(2, x.shape, generator=generator) - 1).to(x)
            return moved if bounds is None else moved.clamp(*bounds)

        def build(_: nn.Module) -> Attack:
            return attack

        return trial.attacked(build)


class _LookedAtError(Exception):
    """Signal that the first batch was looked at."""


def check_model(trial: Trial, model: AdaptedModel) -> list[str]:
    """Return sentences about a model whose gradients may mislead attacks. An empty list if nothing is suspicious.

    Args:
        trial: Trial of a differentiable model.
        model: Its model.
    """
    sentences: list[str] = []

    def look(inputs: Tensor, labels: Tensor) -> Tensor:
        sentences.extend(_findings(model, inputs, labels))
        raise _LookedAtError

    with suppress(_LookedAtError):
        trial.perturbed(look)
    return sentences


def check_results(uar: Mapping[Condition, float]) -> list[str]:
    """Return sentences about attacks whose results contradict each other.

    Args:
        uar: UAR under each tested condition, and under `RandomSigns`.
    """
    sentences = []
    by_attack = {tested.attack.name: found for tested, found in uar.items() if isinstance(tested, Attacked)}
    fgsm, bim = by_attack.get("fgsm"), by_attack.get("bim")
    if fgsm is not None and bim is not None and bim > fgsm + _MARGIN:
        sentences.append(
            f"BIM leaves a UAR of {100 * bim:.1f}, FGSM with its single step {100 * fgsm:.1f}: more steps should not "
            "be weaker, so gradients may be masked"
        )
    pgd = sorted((tested for tested in uar if isinstance(tested, PGDAttacked)), key=lambda tested: tested.eps)
    curve = sorted((tested for tested in uar if isinstance(tested, CurvePoint)), key=lambda tested: tested.eps)
    for weak, strong in (*pairwise(pgd), *pairwise(curve)):
        if uar[strong] > uar[weak] + _MARGIN:
            sentences.append(
                f"{strong.name} leaves a UAR of {100 * uar[strong]:.1f}, {weak.name} {100 * uar[weak]:.1f}: a larger "
                "eps should not be weaker, so the attack may not converge"
            )
    with_gradient = [found for found in (fgsm, bim) if found is not None]
    chance = next((found for tested, found in uar.items() if isinstance(tested, RandomSigns)), None)
    if with_gradient and chance is not None and chance < min(with_gradient) - _MARGIN:
        sentences.append(
            f"random signs of the same size leave a UAR of {100 * chance:.1f}, the best attack "
            f"{100 * min(with_gradient):.1f}: an attack with gradients should not be weaker than chance"
        )
    return sentences


def _findings(model: AdaptedModel, inputs: Tensor, labels: Tensor) -> list[str]:
    """Return what one batch shows."""
    with frozen_in_eval_mode(model), torch.enable_grad():
        gradient, first = gradient_of_loss(model, inputs, labels)
        second = model(inputs).detach()
    sentences = []
    if not torch.allclose(first, second, atol=1e-4, rtol=1e-3):
        sentences.append(
            "two passes over the same input differ: the model is random in eval mode, and an attack follows a gradient "
            "that is not that of the next pass"
        )
    if model.returns_probabilities:
        sentences.append(
            "the model returns probabilities instead of logits: where they are 0 or 1 in float32, gradients vanish; "
            "return the logits"
        )
    zero = (gradient.flatten(1) == 0).all(dim=1)
    if zero.any():
        losses = F.cross_entropy(first, labels, reduction="none")[zero]
        reason = "its loss is saturated" if bool((losses < _SATURATED).all()) else "something blocks it"
        sentences.append(
            f"the gradient of {int(zero.sum())} of {len(zero)} inputs is zero ({reason}): attacks cannot move them"
        )
    return sentences
