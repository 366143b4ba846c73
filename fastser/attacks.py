"""Adversarial attacks on classifiers: FGSM and BIM.

The attacks are untargeted, against the true label, bounded in the L-infinity norm, without random start, and in the
units of the model's input (paper 5.3).

Example:
    >>> import torch
    >>> from fastser.attacks import BIM
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3))
    >>> attack = BIM(model, eps=0.1, alpha=0.02, steps=10)
    >>> x, y = torch.zeros(4, 2, 3), torch.tensor([0, 1, 2, 0])
    >>> (attack(x, y) - x).abs().max() <= 0.1
    tensor(True)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from fastser_kernels import linf_step
from torch import Tensor, nn

from fastser.runtime.cuda_graphs import WARM_UP_STEPS, StepGraphs, replayable
from fastser.runtime.registry import Registry
from fastser.settings import AttackSettings

Attack = Callable[[Tensor, Tensor], Tensor]
"""Maps inputs `[N, ...]` and true labels `[N]` to adversarial inputs of the same shape."""


@dataclass(frozen=True)
class BIM:
    """Basic iterative method: sign steps on the cross-entropy, each projected to the eps-ball.

    The model runs in eval mode and computes no weight gradient. After the attack, its `training` flags,
    `requires_grad` and `.grad` are as they were.

    On a GPU, forward pass, input gradient and step are captured in one CUDA graph and replayed, so that the host
    launches no single kernels and does not wait for the GPU. The first attack on a batch of some shape, layout and
    dtype captures its graph. All graphs share one memory pool, which is freed with the attack object. A graph reads
    parameters and buffers at their addresses: later in-place training is seen, and graphs are captured again where
    tensors have moved (`model.to`, `load_state_dict(assign=True)`). Other Python state of the model (hooks, branches,
    attributes that are not buffers) is frozen at capture. A model that waits for the GPU, for example by a branch on
    values, cannot be captured. Such a model is attacked step by step, with a warning. Attacks of at most two steps are
    never captured. One attack object attacks one batch at a time.

    Attributes:
        model: Differentiable classifier, `[N, ...] -> [N, classes]` logits. In eval mode, samples of a batch must not
            influence each other.
        eps: Largest change of one input value.
        alpha: Step size.
        steps: Number of steps.
        bounds: Smallest and largest value of an input, or None.

    Raises:
        ValueError: If eps or alpha is negative, steps is below 1, or bounds are empty.

    Source: Kurakin et al. 2017.
    """

    model: nn.Module
    eps: float
    alpha: float
    steps: int
    bounds: tuple[float, float] | None = None
    _graphs: StepGraphs = field(default_factory=StepGraphs, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.eps < 0 or self.alpha < 0:
            raise ValueError(f"eps and alpha must not be negative, got {self.eps} and {self.alpha}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.bounds is not None and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"bounds must be (low, high) with low < high, got {self.bounds}")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Attack a batch.

        Args:
            x: Clean inputs `[N, ...]`, floating point. They are not changed.
            y: True labels, int64 `[N]`.

        Returns:
            Adversarial inputs of the shape, dtype and device of `x`, detached.
        """
        x = x.detach()
        with _frozen_in_eval_mode(self.model), torch.enable_grad():
            if self.steps > WARM_UP_STEPS and replayable(x) and not self._graphs.uncapturable:
                return self._graphs.attack(self._step, self.steps, self.model, x, y)
            adversarial = x.clone()
            for _ in range(self.steps):
                self._step(adversarial, x, y)
        return adversarial

    def _step(self, adversarial: Tensor, clean: Tensor, labels: Tensor) -> None:
        leaf = adversarial.detach().requires_grad_()
        loss = F.cross_entropy(self.model(leaf), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        linf_step(adversarial, clean, gradient, self.alpha, self.eps, self.bounds)


class FGSM(BIM):
    """Fast gradient sign method: one step of size eps. See `BIM`.

    Args:
        model: Differentiable classifier, as for `BIM`.
        eps: Largest change of one input value.
        bounds: Smallest and largest value of an input, or None.

    Source: Goodfellow et al. 2015.
    """

    def __init__(self, model: nn.Module, eps: float, bounds: tuple[float, float] | None = None) -> None:
        super().__init__(model, eps, alpha=eps, steps=1, bounds=bounds)


@contextmanager
def _frozen_in_eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in trained:
            parameter.requires_grad_()


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
    build: Callable[[nn.Module, AttackSettings], Attack]
    steps: Callable[[AttackSettings], int]


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
