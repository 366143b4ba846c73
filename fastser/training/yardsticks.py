"""Yardsticks: simple models that are not in the paper, beside which every network is shown.

They are fitted to whole utterances in closed form or by a convex optimiser, so they have no epochs and no seed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fastser.data.dataset import Subset
from fastser.data.normalisation import Normalisation
from fastser.data.utterance_frames import utterance_frames
from fastser.runtime.registry import Registry
from fastser.settings import TrainingSettings

YARDSTICK_AUGMENTATION = "none"
"""Name of the only augmentation that yardsticks are fitted with."""

LOWEST_USEFUL = "linear"
"""Name of the yardstick below which a network is marked in reports."""

CONSTANT_ANSWER = "majority"
"""Name of the yardstick whose answer does not depend on the speech, so that its scores get no interval."""

INVERSE_REGULARISATION = 0.1
"""C of the logistic regression: ten times scikit-learn's regularisation, since features are many and utterances few."""

MAX_ITERATIONS = 2000
"""Limit of the iterations of the optimiser. scikit-learn warns where it ends there."""

_SMALLEST_VARIANCE = 1e-12
"""Lower bound of the variance of a band, where the gradient of its square root ends."""

_CONSTANT = 1e-5
"""Standard deviation of a feature below which it is constant up to rounding. A normalised value has one of about 1."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """A simple model of whole utterances.

    Attributes:
        name: Name on the command line and in results, "linear".
        title: Title in tables, "Linear".
        fit: Fits a module `[batch, frames, bins]` float -> logits `[batch, classes]` to a training set and its
            normalisation. The module takes any number of frames. Of the training settings, `class_weights` applies.
    """

    name: str
    title: str
    fit: Callable[[Subset, Normalisation, TrainingSettings], nn.Module]


class UtteranceClassifier(nn.Module):
    """A linear classifier of the mean and the standard deviation of each band over the utterance.

    Args:
        weight: Weights of the standardised features, [classes, 2 bins].
        bias: Bias of each class, [classes].
        mean: Mean of each feature over the training utterances, [2 bins].
        std: Standard deviation of each feature over the training utterances, [2 bins].

    Example:
        >>> import torch
        >>> weight, bias, mean, std = torch.zeros(4, 6), torch.zeros(4), torch.zeros(6), torch.ones(6)
        >>> UtteranceClassifier(weight, bias, mean, std)(torch.randn(1, 50, 3)).shape
        torch.Size([1, 4])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())
        self.weight = nn.Parameter(weight.float())
        self.bias = nn.Parameter(bias.float())

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [batch, classes] for normalised spectrograms [batch, frames, bins]."""
        return F.linear((band_statistics(x) - self.mean) / self.std, self.weight, self.bias)


def band_statistics(x: Tensor) -> Tensor:
    """Return mean and standard deviation of each band over the frames.

    The gradient is finite for constant bands too.

    Args:
        x: Spectrograms, float [batch, frames, bins].

    Returns:
        The means, then the standard deviations (divided by n), [batch, 2 bins].
    """
    variance = x.var(dim=1, correction=0).clamp(min=_SMALLEST_VARIANCE)
    return torch.cat([x.mean(dim=1), variance.sqrt()], dim=1)


def _linear(training: Subset, normalisation: Normalisation, options: TrainingSettings) -> nn.Module:
    """Fit a multinomial logistic regression with scikit-learn."""
    from sklearn.linear_model import LogisticRegression

    bank = training.dataset.bank
    frames = utterance_frames(bank, training.utterances, normalisation)
    features = torch.cat([band_statistics(of_one[None].double()) for of_one in frames]).cpu()
    std, mean = torch.std_mean(features, dim=0, correction=0)
    std = torch.where(std < _CONSTANT, 1.0, std)
    class_weight = None if options.class_weights == "none" else options.class_weights
    regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=MAX_ITERATIONS, class_weight=class_weight)
    regression.fit(((features - mean) / std).numpy(), _labels(training))
    weight, bias = torch.from_numpy(regression.coef_), torch.from_numpy(regression.intercept_)
    if len(weight) == 1:  # of two classes, scikit-learn gives the logit of the second one
        weight, bias = (torch.cat([torch.zeros_like(part), part]) for part in (weight, bias))
    return UtteranceClassifier(weight, bias, mean, std)


def _majority(training: Subset, _normalisation: Normalisation, _options: TrainingSettings) -> nn.Module:
    """Fit the logarithm of each class's share of the training utterances."""
    classes, bins = len(training.dataset.corpus.classes), training.dataset.bank.frames.shape[1]
    shares = np.bincount(_labels(training), minlength=classes) / len(training.utterances)
    bias = torch.from_numpy(np.log(shares))
    mean, std = torch.zeros(2 * bins, device="cpu"), torch.ones(2 * bins, device="cpu")
    return UtteranceClassifier(torch.zeros(classes, 2 * bins, device="cpu"), bias, mean, std)


def _labels(training: Subset) -> NDArray[np.int64]:
    return training.dataset.labels[list(training.utterances)].cpu().numpy()


YARDSTICKS = Registry(
    "yardstick", [Yardstick("linear", "Linear", _linear), Yardstick("majority", "Majority", _majority)]
)
"""Yardsticks in the order of the tables, where they stand behind the networks."""
