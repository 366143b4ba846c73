"""Loss of one batch: eager on a CPU, compiled as one graph on a GPU."""

from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastser.runtime.precision import Precision, logits_in

LossFunction = Callable[[nn.Module, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
"""Signature of `batch_loss` in a fixed precision."""

_MAX_GRAPHS = 64
"""Limit of compiled variants: many times the five of the five models, since users can register further models."""


def batch_loss(
    model: nn.Module,
    x: Tensor,
    own: Tensor,
    other: Tensor | None,
    lam: Tensor | None,
    precision: Precision = "float32",
) -> Tensor:
    """Return the mean cross-entropy of a batch, between two labels where the batch is mixed (paper 4.3).

    Args:
        model: `[batch, frames, bins] -> [batch, classes]`.
        x: Segments [batch, frames, bins].
        own: Labels, int64 [batch].
        other: Labels of the mixup partners, int64 [batch], or None.
        lam: Weights of `own`, float32 [batch], or None.
        precision: Precision of the model's maps. Weights, statistics and the loss are float32.

    Returns:
        Loss, a float32 scalar.
    """
    logits = logits_in(precision, model, x)
    if other is None or lam is None:
        return F.cross_entropy(logits, own)
    by_own, by_other = (F.cross_entropy(logits, labels, reduction="none") for labels in (own, other))
    return torch.lerp(by_other, by_own, lam).mean()


def loss_function(device: torch.device, precision: Precision) -> LossFunction:
    """Return `batch_loss` in a precision, in its fastest form for a device: compiled on a GPU, eager on a CPU.

    On a CPU, compiling would take longer than a short run. On a GPU, one compiled function serves all runs of a
    process: a new model of the same architecture or another batch size does not compile again. A batch without mixup
    is compiled as one that is mixed with itself. A batch of one segment would need a second compilation, so it runs
    without.
    """
    return _compiled("inductor", precision) if device.type == "cuda" else partial(batch_loss, precision=precision)


@cache
def _compiled(backend: str, precision: Precision) -> LossFunction:
    compiled = torch.compile(batch_loss, fullgraph=True, backend=backend)

    def run(model: nn.Module, x: Tensor, own: Tensor, other: Tensor | None, lam: Tensor | None) -> Tensor:
        if len(x) == 1:
            return batch_loss(model, x, own, other, lam, precision)
        if other is None or lam is None:
            other, lam = own.clone(), torch.ones(len(own), device=own.device)
        for tensor in (x, own, other, lam):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        with torch._dynamo.config.patch(recompile_limit=_MAX_GRAPHS):
            return compiled(model, x, own, other, lam, precision)

    return run
