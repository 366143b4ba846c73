"""Adversarial attacks on a classifier: `attack = BIM(model, eps, alpha, steps); adversarial = attack(x, y)`.

Untargeted, against the true label, L-infinity, no random start, in the units of the model's input (paper 5.3).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from fastser_kernels import linf_step
from torch import Tensor, nn

from fastser.runtime.cuda_graphs import WARM_UP_STEPS, StepGraphs, replayable


@dataclass(frozen=True)
class BIM:
    """Basic iterative method (Kurakin et al. 2017): sign steps on the cross-entropy, each projected to the eps-ball.

    The model runs in eval mode and computes no weight gradient; its `training` flags, `requires_grad` and `.grad` are
    afterwards as they were.

    On a GPU, forward pass, input gradient and step are captured in one CUDA graph, which is then replayed: the host
    neither launches single kernels nor waits for the GPU. There is one graph for each shape, layout and dtype of a
    batch, captured at the first attack on it; all share one memory pool, which is freed with the attack object. A graph
    reads parameters and buffers where they lie: training on in place is seen, and where they have moved (`model.to`,
    `load_state_dict(assign=True)`), graphs are captured anew. Everything else that the model does in Python (hooks,
    branches, attributes that are no buffers) is as it was at capture. A model that waits for the GPU itself, as a
    branch on values does, cannot be captured: it is attacked step by step, and a warning says so. So is any model in
    at most two steps. One object attacks one batch at a time.

    Attributes:
        model: Differentiable, `[N, ...] -> [N, classes]` logits; samples must not influence each other in eval mode.
        eps: Largest change of one input value.
        alpha: Step size.
        steps: Number of steps.
        bounds: Smallest and largest value an input may take, or None.

    Raises:
        ValueError: If eps or alpha is negative, steps below 1, or bounds empty.
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
            x: Clean inputs `[N, ...]`, floating point; not changed.
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
    """Fast gradient sign method (Goodfellow et al. 2015): one step of size eps. See `BIM`.

    Args:
        model: As for `BIM`.
        eps: As for `BIM`.
        bounds: As for `BIM`.
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
