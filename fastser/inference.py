"""From segments to utterances: what a model says about a test or validation set."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastser.datasets import Subset

BATCH_SIZE = 64
"""Segments that go through the model at once in a test; no result depends on it."""


def posteriors(model: nn.Module, subset: Subset, mean: float, std: float) -> Tensor:
    """Mean over an utterance's segments of the softmax output (paper 4.2, open 36), [utterances, classes].

    Args:
        model: `[batch, frames, bins] -> [batch, classes]`; put into eval mode.
        subset: What to test.
        mean: Of the training set, for the normalisation.
        std: The same.
    """
    bank = subset.dataset.bank
    return utterance_means(
        model, (bank.gather(part, mean, std) for part in subset.segments.split(BATCH_SIZE)), subset.rows
    )


def utterance_means(model: nn.Module, batches: Iterable[Tensor], rows: Tensor) -> Tensor:
    """Softmax outputs of batches of segments, averaged over the segments of the same row, [rows, classes].

    Args:
        model: As in `posteriors`.
        batches: Segments [batch, frames, bins], in the order of `rows`.
        rows: The row that each segment belongs to, int64 [segments]; every row has at least one.
    """
    model.eval()
    with torch.no_grad():
        by_segment = torch.cat([F.softmax(model(x), dim=1) for x in batches])
    count = torch.bincount(rows)
    total = by_segment.new_zeros(len(count), by_segment.shape[1]).index_add_(0, rows, by_segment)
    return total / count[:, None]
