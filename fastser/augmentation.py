"""Mixup on the device of the batch.

Source: Latif et al. 2020, section 4.3; Zhang et al. 2018.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastser.runtime.registry import Registry
from fastser.settings import MixupWeights


def draw_mixup(
    batch: int,
    alpha: float,
    *,
    weights: MixupWeights = "sample",
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Draw mixup partners and weights on a device, without waiting for the device.

    Args:
        batch: Number of samples.
        alpha: Parameter of the symmetric Beta distribution, greater than 0.
        weights: "sample": each sample draws its own weight. "batch": all samples share one.
        generator: Random generator of the device, by default the global one.
        device: Device of the results.

    Returns:
        A permutation, int64 [batch], and a weight per sample from Beta(alpha, alpha), float32 [batch].

    Raises:
        ValueError: If `alpha` is not positive and finite.

    Example:
        >>> import torch
        >>> partner, lam = draw_mixup(4, alpha=0.2, generator=torch.Generator().manual_seed(0))
        >>> sorted(partner.tolist()), lam.shape
        ([0, 1, 2, 3], torch.Size([4]))
    """
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be finite and greater than 0, got {alpha}")
    partner = torch.randperm(batch, generator=generator, device=device)
    # Gamma(alpha) = Gamma(alpha + 1) * uniform ** (1 / alpha), in logarithms because a small alpha would underflow
    drawn = batch if weights == "sample" else 1
    shape = torch.full((2, drawn), alpha + 1.0, dtype=torch.float64, device=device)
    uniform = 1.0 - torch.rand(2, drawn, dtype=torch.float64, device=device, generator=generator)
    log_gamma = torch._standard_gamma(shape, generator=generator).log() + uniform.log() / alpha
    return partner, torch.sigmoid(log_gamma[0] - log_gamma[1]).float().expand(batch).contiguous()


def mixup(
    x: Tensor, y: Tensor, alpha: float, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mix each sample of a batch with another sample of the batch.

    Args:
        x: Floating-point batch, [batch, ...].
        y: Labels of any dtype, [batch, ...]. They are not mixed.
        alpha: Parameter of the symmetric Beta distribution, greater than 0. Each sample draws its own weight.
        generator: Random generator of the device of `x`, by default the global one.

    Returns:
        `(mixed, y_a, y_b, lam)`, with `mixed = lam * x + (1 - lam) * partner` in the dtype of `x` and `lam` float32
        [batch]. The loss of a sample is `lam * CE(mixed, y_a) + (1 - lam) * CE(mixed, y_b)`.

    Raises:
        TypeError: If `x` holds integers.
        ValueError: If `alpha` is not positive and finite, or if `x` and `y` differ in length.

    Source: Latif et al. 2020, equations 3 and 4; Zhang et al. 2018.

    Example:
        >>> import torch
        >>> x, y = torch.randn(4, 128), torch.tensor([0, 1, 2, 3])
        >>> mixed, y_a, y_b, lam = mixup(x, y, alpha=0.2)
        >>> torch.allclose(mixed, lam[:, None] * x + (1 - lam[:, None]) * x[y_b], atol=1e-6)
        True
    """
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"x must be floating point, got {x.dtype}; convert it first, for example with x.float()")
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
