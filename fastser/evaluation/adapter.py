"""Adapters: other people's models as modules that map a batch of inputs to logits of the corpus' classes.

A model may return logits, probabilities, a tuple that begins with them, or an object with `.logits`, as those of
transformers do. Its classes may have another order than the corpus', and there may be more of them.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fastser.evaluation.model_error import ModelError

Padding = Literal["attention_mask", "lengths", "none", "one by one"]
"""Ways in which a model of waveforms learns how long each utterance of a batch is."""

_SMALLEST = 1e-30


class AdaptedModel(nn.Module):
    """A model or callable whose result are logits of the corpus' classes.

    Args:
        model: A module, or a callable on NumPy arrays.
        columns: Column of each class of the corpus in the model's output.
        num_outputs: Number of columns that the model must return.

    Attributes:
        differentiable: Whether the model is a module.
        returns_probabilities: Whether its first output was probabilities instead of logits. None before the first
            output.
    """

    def __init__(self, model: Any, columns: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        self.differentiable = isinstance(model, nn.Module)
        if not callable(model):
            raise ModelError(f"a model must be a torch.nn.Module or a callable on arrays, got {type(model).__name__}")
        self.inner = model
        self.num_outputs = num_outputs
        self.returns_probabilities: bool | None = None
        self.register_buffer("columns", torch.tensor(list(columns)), persistent=False)

    columns: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of a batch, [batch, classes of the corpus]."""
        return self._logits(self._call(inputs), inputs)

    def _call(self, inputs: Tensor) -> Any:
        if not self.differentiable:
            return self.inner(inputs.detach().cpu().numpy())
        return self.inner(self._in_dtype_of_model(inputs))

    def _in_dtype_of_model(self, inputs: Tensor) -> Tensor:
        floating = (p.dtype for p in self.inner.parameters() if p.is_floating_point())
        return inputs.to(next(floating, inputs.dtype))

    def _logits(self, result: Any, inputs: Tensor) -> Tensor:
        """Convert what the model returned to logits of the corpus' classes."""
        found = _first_output(result)
        try:
            output = found if isinstance(found, Tensor) else torch.as_tensor(np.asarray(found, np.float32))
        except (TypeError, ValueError) as error:
            raise ModelError(f"the model returned {type(result).__name__}, expected logits [batch, classes]") from error
        if output.shape != (len(inputs), self.num_outputs):
            raise ModelError(
                f"the model returned {list(output.shape)} for a batch of {list(inputs.shape)}, expected "
                f"{[len(inputs), self.num_outputs]}: one row per input, one column per class"
            )
        if self.returns_probabilities is None:
            self.returns_probabilities = _are_probabilities(output)
        logits = output.float().to(inputs.device)
        if self.returns_probabilities:
            logits = logits.clamp(min=_SMALLEST).log()
        return logits[:, self.columns]


class WaveformModel(AdaptedModel):
    """A model of padded waveforms [batch, samples].

    Args:
        model: As in `AdaptedModel`. A callable on arrays gets one waveform [samples] at a time, and returns a row.
        columns: As in `AdaptedModel`.
        num_outputs: As in `AdaptedModel`.
        padding: How the model learns the lengths, or None to find out from the names of its parameters.

    Attributes:
        lengths: Number of samples of each waveform of the current batch, int64 [batch].
    """

    lengths: Tensor

    def __init__(self, model: Any, columns: Sequence[int], num_outputs: int, padding: Padding | None = None) -> None:
        super().__init__(model, columns, num_outputs)
        self.padding: Padding = padding or padding_of(model)

    def _call(self, inputs: Tensor) -> Any:
        if not self.differentiable:
            waveforms = [w[: int(n)].detach().cpu().numpy() for w, n in zip(inputs, self.lengths, strict=True)]
            return np.stack([np.asarray(self.inner(waveform), np.float32).reshape(-1) for waveform in waveforms])
        inputs = self._in_dtype_of_model(inputs)
        if self.padding == "attention_mask":
            mask = torch.arange(inputs.shape[1], device=inputs.device) < self.lengths[:, None]
            return self.inner(inputs, attention_mask=mask.long())
        if self.padding == "lengths":
            return self.inner(inputs, self.lengths)
        if self.padding == "one by one":
            single = (self.inner(w[: int(n)][None]) for w, n in zip(inputs, self.lengths, strict=True))
            return torch.cat([_first_output(result) for result in single])
        return self.inner(inputs)


def padding_of(model: Callable[..., Any]) -> Padding:
    """Return how a model learns the lengths of a batch, from the names of its parameters.

    A model with a parameter `attention_mask` or `lengths` gets it. Others get one utterance at a time, because nothing
    is known about what they do with padding.
    """
    function = model.forward if isinstance(model, nn.Module) else model
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return "one by one"
    if "attention_mask" in names:
        return "attention_mask"
    return "lengths" if len(names) > 1 and names[1] in ("lengths", "length") else "one by one"


def _first_output(result: Any) -> Any:
    """Return the logits of an object, the first tensor or array of a tuple, or the result itself."""
    found = getattr(result, "logits", result)
    if isinstance(found, tuple | list) and len(found) and hasattr(found[0], "ndim"):
        return found[0]
    return found


def _are_probabilities(output: Tensor) -> bool:
    """Return whether each row is a distribution."""
    rows = output.detach().double()
    rounding = torch.finfo(output.dtype).eps if output.is_floating_point() else 0.0
    tolerance = max(1e-3, output.shape[1] * rounding)
    return bool((rows >= 0).all() and ((rows.sum(dim=1) - 1).abs() < tolerance).all())
