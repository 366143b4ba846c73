"""Mixup inside the device (paper 4.3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fastser.runtime.registry import Registry


def draw_mixup(
    batch: int, alpha: float, *, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Draw mixup partners and weights on the device, without synchronisation.

    Args:
        batch: Number of samples.
        alpha: Parameter of the symmetric Beta distribution.
        generator: Random generator of that device.
        device: Where the draw happens.

    Returns:
        A permutation [batch] int64 and one weight per sample [batch] float32, from Beta(alpha, alpha).
    """
    partner = torch.randperm(batch, generator=generator, device=device)
    # Gamma(alpha) = Gamma(alpha + 1) * uniform ** (1 / alpha), in logarithms because a small alpha would underflow.
    shape = torch.full((2, batch), alpha + 1.0, dtype=torch.float64, device=device)
    uniform = 1.0 - torch.rand(2, batch, dtype=torch.float64, device=device, generator=generator)
    log_gamma = torch._standard_gamma(shape, generator=generator).log() + uniform.log() / alpha
    return partner, torch.sigmoid(log_gamma[0] - log_gamma[1]).float()


def mixup(
    x: Tensor, y: Tensor, alpha: float, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mix each sample of a batch with another one (Zhang et al. 2018; paper equations 3 and 4).

    Args:
        x: Any floating-point batch, [batch, ...].
        y: Labels, [batch]; any dtype, they are not changed.
        alpha: Parameter of the Beta distribution from which each sample's own weight is drawn; greater than 0.
        generator: Random generator of `x`'s device.

    Returns:
        `(mixed, y_a, y_b, lam)`, with `mixed = lam * x + (1 - lam) * partner` and `lam` [batch] float32. The loss is
        `lam * CE(mixed, y_a) + (1 - lam) * CE(mixed, y_b)`, per sample.

    Raises:
        ValueError: If `alpha` is not positive, or `x` and `y` differ in length.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be greater than 0, got {alpha}")
    if len(x) != len(y):
        raise ValueError(f"x and y must have the same length, got {len(x)} and {len(y)}")
    partner, lam = draw_mixup(len(x), alpha, generator=generator, device=x.device)
    weight = lam.to(x.dtype).view(-1, *(1,) * (x.dim() - 1))
    return torch.lerp(x[partner], x, weight), y, y[partner], lam


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A variant of the training set (paper 4.3).

    Attributes:
        name: Name in tables and on the command line, "speed+mixup".
        speed: Add the speed-perturbed versions of every training utterance.
        mixup: Mix each training sample with another one of its batch.
        colour: Colour of its bars in plots.
    """

    name: str
    speed: bool = False
    mixup: bool = False
    colour: str = "#009e73"


AUGMENTATIONS = Registry(
    "augmentation",
    [
        Augmentation("none", colour="#999999"),
        Augmentation("speed", speed=True, colour="#56b4e9"),
        Augmentation("mixup", mixup=True, colour="#e69f00"),
        Augmentation("speed+mixup", speed=True, mixup=True, colour="#0072b2"),
    ],
)
"""The paper's training-set variants, in the order of its tables. The colours are those of Okabe and Ito."""
