"""Sign attacks of the paper: FGSM and BIM.

They use the L-infinity norm, and start at the clean input without a random step. `eps` and `alpha` are in the units of
the model's input.

Source: Latif et al. 2020, section 5.3.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

import torch
import torch.nn.functional as F
from fastser_kernels import linf_step
from torch import Tensor, nn
from torch.func import functional_call

from fastser.runtime.cuda_graphs import WARM_UP_STEPS, StepGraphs, replayable

_NO_LABEL = torch.iinfo(torch.int64).min  # a value of ignore_index that is no label


@dataclass(frozen=True)
class BIM:
    """Basic iterative method: sign steps on the cross-entropy, each projected to the eps-ball around the clean input.

    The model runs in eval mode without weight gradients. After the attack its `training` flags, `requires_grad` and
    `.grad` are the same as before, also if the model fails. An attack inside torch.no_grad or torch.inference_mode
    leaves that mode for its own computation.

    On a GPU, one step (forward pass, input gradient and update) is captured in a CUDA graph, and the graph is replayed
    for the other steps. The host then neither launches single kernels nor waits for the GPU.

    - Each shape, layout and dtype of a batch has its own graph, captured at the first attack on such a batch. All
      graphs share one memory pool, which is freed with the attack object.
    - A graph reads parameters and buffers at their addresses. It uses weights that were trained further in place. If
      they have moved (`model.to`, `load_state_dict(assign=True)`), the graphs are captured again.
    - A graph repeats the kernels of its capture. Later changes of hooks, branches in Python and attributes that are not
      buffers have no effect.
    - A model that waits for the GPU, for example because it branches on values, cannot be captured. The attack then
      runs without a graph and warns. Attacks of at most two steps never use a graph.
    - An attack object attacks one batch at a time.

    Attributes:
        model: Differentiable classifier, `[N, ...] -> [N, classes]` logits. In eval mode the logits of a sample must
            not depend on other samples.
        eps: Largest change of an input value.
        alpha: Step size.
        steps: Number of steps.
        bounds: Smallest and largest valid input value, or None.

    Raises:
        TypeError: If model is not a module.
        ValueError: If eps or alpha is negative or not a number, alpha infinite, steps below 1, or bounds empty.

    Source: Kurakin et al. 2017.

    Example:
        >>> import torch
        >>> attack = BIM(torch.nn.Linear(128, 4), eps=0.08, alpha=0.01, steps=10)
        >>> x, y = torch.randn(2, 128), torch.tensor([0, 3])
        >>> bool((attack(x, y) - x).abs().max() <= 0.08 + 1e-6)
        True
    """

    model: nn.Module
    eps: float
    alpha: float
    steps: int
    bounds: tuple[float, float] | None = None
    _graphs: StepGraphs = field(default_factory=StepGraphs, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {self.model!r}")
        if self.eps < 0 or self.alpha < 0:
            raise ValueError(f"eps and alpha must not be negative, got {self.eps} and {self.alpha}")
        if math.isnan(self.eps) or not math.isfinite(self.alpha):
            raise ValueError(f"eps and alpha must be numbers and alpha finite, got {self.eps} and {self.alpha}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds must be (low, high) with low < high, got {self.bounds}")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Attack a batch.

        Args:
            x: Clean inputs `[N, ...]`, floating point. They are not changed.
            y: True labels, int64 `[N]`.

        Returns:
            Adversarial inputs with the shape, dtype and device of `x`, detached.

        Warns:
            FallbackWarning: If the step cannot be captured in a CUDA graph.
        """
        with frozen_in_eval_mode(self.model), torch.inference_mode(False), torch.enable_grad():
            x, y = ordinary(x.detach()), ordinary(y)
            tensors = chain(self.model.named_parameters(), self.model.named_buffers())
            copies = {name: tensor.clone() for name, tensor in tensors if tensor.is_inference()}
            if self.steps > WARM_UP_STEPS and replayable(x) and not self._graphs.uncapturable and not copies:
                return self._graphs.attack(self._step, self.steps, self.model, x, y)
            adversarial = x.clone()
            for _ in range(self.steps):
                self._step(adversarial, x, y, copies)
        return adversarial

    def _step(
        self, adversarial: Tensor, clean: Tensor, labels: Tensor, copies: dict[str, Tensor] | None = None
    ) -> None:
        gradient, _ = gradient_of_loss(self.model, adversarial, labels, copies)
        linf_step(adversarial, clean, gradient, self.alpha, self.eps, self.bounds)


class FGSM(BIM):
    """Fast gradient sign method: one step of size eps.

    Args:
        model: Differentiable classifier, `[N, ...] -> [N, classes]` logits, as for `BIM`.
        eps: Size of the step, the largest change of an input value.
        bounds: Smallest and largest valid input value, or None.

    Source: Goodfellow et al. 2015.

    Example:
        >>> import torch
        >>> attack = FGSM(torch.nn.Linear(128, 4), eps=0.08)
        >>> attack(torch.randn(2, 128), torch.tensor([0, 3])).shape
        torch.Size([2, 128])
    """

    def __init__(self, model: nn.Module, eps: float, bounds: tuple[float, float] | None = None) -> None:
        super().__init__(model, eps, alpha=eps, steps=1, bounds=bounds)


def gradient_of_loss(
    model: nn.Module, inputs: Tensor, labels: Tensor, copies: dict[str, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the cross-entropy to the inputs, and the logits.

    Args:
        model: Differentiable classifier in eval mode.
        inputs: `[N, ...]`.
        labels: True labels, int64 `[N]`.
        copies: Parameters and buffers in place of those of the model, by name.

    Raises:
        TypeError: If the model returns no tensor.
        ValueError: If its logits have no gradient.
    """
    leaf = inputs.detach().requires_grad_()
    logits = functional_call(model, copies, leaf) if copies else model(leaf)
    if not isinstance(logits, Tensor):
        raise TypeError(f"the model must return logits, a tensor [N, classes], not a {type(logits).__name__}")
    if not logits.requires_grad:
        raise ValueError("the logits of the model have no gradient; remove no_grad, detach and argmax from it")
    # labels of -100 raise an error as all others out of range do: ignored, they would leave samples unattacked
    loss = F.cross_entropy(logits, labels, reduction="sum", ignore_index=_NO_LABEL)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient, logits.detach()


def ordinary(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor that was made in inference mode, which has no gradients; call it outside that mode."""
    return tensor.clone() if tensor.is_inference() else tensor


@contextmanager
def frozen_in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Freeze a model, and restore its flags at the end of the block, also if that begins or ends with an error."""
    modes = [(module, module.training) for module in model.modules()]
    trained = [p for p in model.parameters() if p.requires_grad and p.is_leaf and not p.is_inference()]
    try:
        model.eval()
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in trained:
            parameter.requires_grad_()
