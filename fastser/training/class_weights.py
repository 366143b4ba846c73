"""Weights of the classes in the loss, so that rare classes count as much as frequent ones."""

import torch
from torch import Tensor

from fastser.data.dataset import Subset
from fastser.settings import TrainingSettings


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Return a weight for each class that is inversely proportional to its frequency.

    The mean weight of the labels is 1. This is scikit-learn's `class_weight="balanced"`.

    Args:
        labels: Class of each sample, int64 [samples].
        classes: Number of classes.

    Returns:
        Weights, float32 [classes]. A class without samples has the weight of one that has a single sample.

    Example:
        >>> import torch
        >>> balanced_weights(torch.tensor([0, 0, 0, 1]), classes=2)
        tensor([0.6667, 2.0000])
    """
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.float())


def loss_weights(training: Subset, options: TrainingSettings) -> Tensor | None:
    """Return the weights of the classes in the loss of a training, float32 [classes], or None if all count the same.

    Args:
        training: Training set. Segments are counted, not utterances.
        options: `class_weights` is used.
    """
    if options.class_weights == "none":
        return None
    return balanced_weights(training.labels, len(training.dataset.corpus.classes))
