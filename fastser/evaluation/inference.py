"""Inference: from the segments of utterances to one posterior per utterance."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastser.data.dataset import Subset
from fastser.data.normalisation import Normalisation
from fastser.evaluation.metrics import METRICS, ConditionResult

BATCH_SIZE = 64
"""Segments in one batch of a test. No result depends on it."""


def posteriors(
    model: nn.Module, subset: Subset, normalisation: Normalisation, on_batch: Callable[[], None] = lambda: None
) -> Tensor:
    """Return the softmax output averaged over the segments of each utterance (paper 4.2, open 36).

    Args:
        model: `[batch, frames, bins] -> [batch, classes]`. It is put into eval mode.
        subset: Utterances.
        normalisation: Normalisation that belongs to the model.
        on_batch: Called after each batch. An exception that it raises ends the inference.

    Returns:
        Posteriors, float [utterances, classes].
    """
    bank = subset.dataset.bank
    batches = (bank.gather(part, normalisation) for part in subset.segments.split(BATCH_SIZE))
    return utterance_means(model, batches, subset.rows, on_batch)


def utterance_means(
    model: nn.Module, batches: Iterable[Tensor], rows: Tensor, on_batch: Callable[[], None] = lambda: None
) -> Tensor:
    """Return the softmax outputs of segments, averaged over the segments of the same row.

    Args:
        model: As in `posteriors`.
        batches: Batches of segments [batch, frames, bins], in the order of `rows`.
        rows: Row of each segment, int64 [segments]. Every row has at least one segment.
        on_batch: As in `posteriors`.

    Returns:
        Posteriors, float [rows, classes].
    """
    return row_means(outputs_of(model, batches, on_batch), rows)


def outputs_of(model: nn.Module, batches: Iterable[Tensor], on_batch: Callable[[], None] = lambda: None) -> Tensor:
    """Return the softmax outputs of batches one after another, float [inputs, classes].

    Args:
        model: As in `posteriors`.
        batches: Batches of inputs.
        on_batch: As in `posteriors`.
    """
    model.eval()
    outputs: list[Tensor] = []
    with torch.no_grad():
        for x in batches:
            outputs.append(F.softmax(model(x), dim=1))
            on_batch()
    return torch.cat(outputs)


def row_means(by_segment: Tensor, rows: Tensor) -> Tensor:
    """Return the mean output of each row, [rows, classes].

    Args:
        by_segment: Outputs of segments, [segments, classes].
        rows: Row of each segment, int64 [segments]. Every row has at least one segment.
    """
    count = torch.bincount(rows)
    total = by_segment.new_zeros(len(count), by_segment.shape[1]).index_add_(0, rows, by_segment)
    return total / count[:, None]


def result_of(subset: Subset, posteriors: Tensor) -> ConditionResult:
    """Return posteriors [utterances, classes] together with the true labels and the speakers."""
    labels = subset.dataset.labels[list(subset.utterances)].cpu().numpy()
    speakers = [subset.dataset.corpus.utterances[i].speaker for i in subset.utterances]
    return ConditionResult(posteriors.float().cpu().numpy(), labels, subset.utterance_ids, speakers)


def validation_score(subset: Subset, metric: str) -> Callable[[nn.Module, Normalisation, Callable[[], None]], float]:
    """Return the function by which `fastser.training.loop.train` scores a model.

    Args:
        subset: Validation set.
        metric: Name of a metric in `METRICS`.
    """
    of = METRICS[metric].of

    def score(model: nn.Module, normalisation: Normalisation, on_batch: Callable[[], None]) -> float:
        return of(result_of(subset, posteriors(model, subset, normalisation, on_batch)))

    return score
