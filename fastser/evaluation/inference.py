"""From segments to utterances: what a model says about a test or validation set."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastser.data.dataset import Subset

BATCH_SIZE = 64
"""Segments that go through the model at once in a test; no result depends on it."""


def posteriors(
    model: nn.Module, subset: Subset, mean: float, std: float, on_batch: Callable[[], None] = lambda: None
) -> Tensor:
    """Mean over an utterance's segments of the softmax output (paper 4.2, open 36), [utterances, classes].

    Args:
        model: `[batch, frames, bins] -> [batch, classes]`; put into eval mode.
        subset: What to test.
        mean: Of the training set, for the normalisation.
        std: The same.
        on_batch: Called after each batch; what it raises ends the test.
    """
    bank = subset.dataset.bank
    batches = (bank.gather(part, mean, std) for part in subset.segments.split(BATCH_SIZE))
    return utterance_means(model, batches, subset.rows, on_batch)


def utterance_means(
    model: nn.Module, batches: Iterable[Tensor], rows: Tensor, on_batch: Callable[[], None] = lambda: None
) -> Tensor:
    """Softmax outputs of batches of segments, averaged over the segments of the same row, [rows, classes].

    Args:
        model: As in `posteriors`.
        batches: Segments [batch, frames, bins], in the order of `rows`.
        rows: The row that each segment belongs to, int64 [segments]; every row has at least one.
        on_batch: As in `posteriors`.
    """
    model.eval()
    outputs: list[Tensor] = []
    with torch.no_grad():
        for x in batches:
            outputs.append(F.softmax(model(x), dim=1))
            on_batch()
    by_segment = torch.cat(outputs)
    count = torch.bincount(rows)
    total = by_segment.new_zeros(len(count), by_segment.shape[1]).index_add_(0, rows, by_segment)
    return total / count[:, None]
