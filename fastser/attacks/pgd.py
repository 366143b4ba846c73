"""Projected gradient descent with random starts, in the L-infinity and in the L2 norm."""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from fastser_kernels import linf_step
from torch import Tensor, nn

from fastser.attacks.bim import frozen_in_eval_mode, gradient_of_loss, ordinary

_SMALLEST_NORM = 1e-12


class _ProjectedGradientDescent(ABC):
    """Gradient steps on the cross-entropy, each projected to a ball around the clean input.

    Of all restarts, and for each sample, the input with the largest loss at its end is returned.
    """

    def __init__(
        self, model: nn.Module, eps: float, alpha: float, steps: int, restarts: int, random_start: bool, seed: int
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {model!r}")
        if not (math.isfinite(eps) and math.isfinite(alpha)) or eps < 0 or alpha < 0:
            raise ValueError(f"eps and alpha must be finite and not negative, got {eps} and {alpha}")
        if steps < 1 or restarts < 1:
            raise ValueError(f"steps and restarts must be at least 1, got {steps} and {restarts}")
        self.model = model
        self.eps = eps
        self.alpha = alpha
        self.steps = steps
        self.restarts = restarts
        self.random_start = random_start
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Attack a batch.

        Args:
            x: Clean inputs `[N, ...]`, floating point. They are not changed.
            y: True labels, int64 `[N]`.

        Returns:
            Adversarial inputs with the shape, dtype and device of `x`, detached.
        """
        with frozen_in_eval_mode(self.model), torch.inference_mode(False), torch.enable_grad():
            x, y = ordinary(x.detach()), ordinary(y)
            worst, largest = x.clone(), torch.full((len(x),), -math.inf, device=x.device)
            for _ in range(self.restarts):
                adversarial = self._start(x) if self.random_start else x.clone()
                for _ in range(self.steps):
                    gradient, _ = gradient_of_loss(self.model, adversarial, y)
                    self._step(adversarial, x, gradient)
                with torch.no_grad():
                    loss = F.cross_entropy(self.model(adversarial), y, reduction="none")
                worse = ~(loss <= largest)  # a loss that is not a number stays visible
                worst[worse], largest[worse] = adversarial[worse], loss[worse].to(largest.dtype)
        return worst

    def _noise(self, x: Tensor, *, normal: bool) -> Tensor:
        """Draw on the CPU, so that every device gets the same start."""
        if normal:
            return torch.randn(x.shape, generator=self._generator).to(x)
        return (2 * torch.rand(x.shape, generator=self._generator) - 1).to(x)

    @abstractmethod
    def _start(self, x: Tensor) -> Tensor:
        """Return a random point of the ball."""

    @abstractmethod
    def _step(self, adversarial: Tensor, clean: Tensor, gradient: Tensor) -> None:
        """Move `adversarial` in place by one step."""


class PGD(_ProjectedGradientDescent):
    """Projected gradient descent in the L-infinity norm, with random starts.

    Without a random start and with one restart it is `BIM`.

    Args:
        model: Differentiable classifier, `[N, ...] -> [N, classes]` logits, as for `BIM`.
        eps: Largest change of an input value.
        alpha: Step size.
        steps: Number of steps of each restart.
        restarts: Number of random starts.
        random_start: Start at a uniformly drawn point of the ball instead of the clean input.
        seed: Seed of the starts.

    Raises:
        TypeError: If model is not a module.
        ValueError: If a number is out of range.

    Source: Madry et al. 2018.

    Example:
        >>> import torch
        >>> attack = PGD(torch.nn.Linear(128, 4), eps=0.08, alpha=0.01, steps=10, restarts=2)
        >>> x, y = torch.randn(2, 128), torch.tensor([0, 3])
        >>> bool((attack(x, y) - x).abs().max() <= 0.08 + 1e-6)
        True
    """

    def __init__(
        self,
        model: nn.Module,
        eps: float,
        alpha: float,
        steps: int,
        restarts: int = 1,
        *,
        random_start: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(model, eps, alpha, steps, restarts, random_start, seed)

    def _start(self, x: Tensor) -> Tensor:
        return x + self.eps * self._noise(x, normal=False)

    def _step(self, adversarial: Tensor, clean: Tensor, gradient: Tensor) -> None:
        linf_step(adversarial, clean, gradient, self.alpha, self.eps, None)


class PGDL2(_ProjectedGradientDescent):
    """Projected gradient descent in the L2 norm, with a radius relative to the norm of each input.

    So an SNR bounds it: a radius of 0.1 is a perturbation at 20 dB.

    Args:
        model: As for `PGD`.
        eps: Radius of the ball over the L2 norm of the clean input.
        alpha: Length of a step over the same norm.
        steps: Number of steps of each restart.
        restarts: Number of random starts.
        random_start: Start at a random point of the ball instead of the clean input.
        seed: Seed of the starts.

    Raises:
        TypeError: If model is not a module.
        ValueError: If a number is out of range.

    Source: Madry et al. 2018.

    Example:
        >>> import torch
        >>> attack = PGDL2(torch.nn.Linear(128, 4), eps=0.1, alpha=0.02, steps=10)
        >>> x, y = torch.randn(2, 128), torch.tensor([0, 3])
        >>> bool(((attack(x, y) - x).norm(dim=1) / x.norm(dim=1)).max() <= 0.1 + 1e-5)
        True
    """

    def __init__(
        self,
        model: nn.Module,
        eps: float,
        alpha: float,
        steps: int,
        restarts: int = 1,
        *,
        random_start: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(model, eps, alpha, steps, restarts, random_start, seed)

    def _start(self, x: Tensor) -> Tensor:
        direction = self._noise(x, normal=True)
        return x + direction * (self.eps * _norm(x) / _norm(direction))

    def _step(self, adversarial: Tensor, clean: Tensor, gradient: Tensor) -> None:
        radius = _norm(clean)
        largest = gradient.flatten(1).abs().amax(dim=1).clamp(min=torch.finfo(gradient.dtype).tiny)
        gradient = gradient / largest.view(-1, *[1] * (gradient.dim() - 1))  # a confident model has tiny gradients
        change = adversarial + gradient * (self.alpha * radius / _norm(gradient)) - clean
        adversarial.copy_(clean + change * (self.eps * radius / _norm(change)).clamp(max=1))


def _norm(x: Tensor) -> Tensor:
    """Return the L2 norm of each sample, in a shape that broadcasts to `x`."""
    norm: Tensor = x.flatten(1).norm(dim=1).clamp(min=_SMALLEST_NORM)
    return norm.view(-1, *[1] * (x.dim() - 1))
