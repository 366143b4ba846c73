"""Loss of one batch: eager on a CPU, compiled as one graph on a GPU."""

from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastser.runtime.precision import Precision, logits_in

LossFunction = Callable[[nn.Module, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
"""Signature of `batch_loss` in a fixed precision and with fixed weights of classes."""

_MAX_GRAPHS = 64
"""Limit of compiled variants: many times the five of the five models, since users can register further models."""


def batch_loss(
    model: nn.Module,
    x: Tensor,
    own: Tensor,
    other: Tensor | None,
    lam: Tensor | None,
    precision: Precision = "float32",
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the mean cross-entropy of a batch, between two labels where the batch is mixed (paper 4.3).

    Args:
        model: `[batch, frames, bins] -> [batch, classes]`.
        x: Segments [batch, frames, bins].
        own: Labels, int64 [batch].
        other: Labels of the mixup partners, int64 [batch], or None.
        lam: Weights of `own`, float32 [batch], or None.
        precision: Precision of the model's maps. Weights, statistics and the loss are float32.
        class_weights: Factor of the loss of each class, float32 [classes], or None. The sum over the batch is divided
            by the batch size. So weights with a mean of 1 over the training set leave the size of steps as it is.

    Returns:
        Loss, a float32 scalar.
    """
    logits = logits_in(precision, model, x)
    if other is None or lam is None:
        return F.cross_entropy(logits, own, class_weights, reduction="sum") / len(own)
    by_own, by_other = (F.cross_entropy(logits, labels, class_weights, reduction="none") for labels in (own, other))
    return torch.lerp(by_other, by_own, lam).mean()


def loss_function(device: torch.device, precision: Precision, class_weights: Tensor | None = None) -> LossFunction:
    """Return `batch_loss` in a precision, in its fastest form for a device: compiled on a GPU, eager on a CPU.

    On a CPU, compiling would take longer than a short run. On a GPU, one compiled function serves all runs of a
    process: a new model of the same architecture or another batch size does not compile again. A batch without mixup
    is compiled as one that is mixed with itself. A batch of one segment would need a second compilation, so it runs
    without.

    Args:
        device: Device of model and batches.
        precision: Precision of the model's maps.
        class_weights: Factor of the loss of each class, float32 [classes], or None.
    """
    if device.type == "cuda":
        return partial(_compiled("inductor", precision), class_weights=class_weights)
    return partial(batch_loss, precision=precision, class_weights=class_weights)


@cache
def _compiled(backend: str, precision: Precision) -> Callable[..., Tensor]:
    compiled = torch.compile(batch_loss, fullgraph=True, backend=backend)

    def run(
        model: nn.Module,
        x: Tensor,
        own: Tensor,
        other: Tensor | None,
        lam: Tensor | None,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        if len(x) == 1:
            return batch_loss(model, x, own, other, lam, precision, class_weights)
        if other is None or lam is None:
            other, lam = own.clone(), torch.ones(len(own), device=own.device)
        for tensor in (x, own, other, lam):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        with torch._dynamo.config.patch(recompile_limit=_MAX_GRAPHS):
            return compiled(model, x, own, other, lam, precision, class_weights)

    return run
