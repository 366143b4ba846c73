"""The operations that the five models run at both scales, with the shapes, strides and dtypes of their arguments."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from cases import OperationsSeen
from fastser_kernels.norm_relu import op as norm_relu
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_map_only

from fastser.attacks import FGSM
from fastser.models import MODELS, build_model
from fastser.settings import SCALES, Settings

LIBRARY = "fastser_kernels"

SIZES = ("paper", "quick")
"""Scales whose models have different sizes. Those of the scale open are quick's."""


def model_operations(batch: int | None = None) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Yield the operations of a training step in bfloat16 and of an attack in float32, on tensors without values.

    Args:
        batch: Number of segments of a batch; by default that of the settings of the scale.

    Yields:
        A name for the case, the operation's name, and its arguments with meta tensors.
    """
    for scale in SIZES:
        settings = SCALES[scale]
        for architecture in MODELS:
            model = _model(architecture, settings)
            size = batch or settings.training.batch_size
            shape = size, settings.spectrogram.segment_frames, settings.spectrogram.num_bins
            for case, step in (("training", _train), ("attack", _attack)):
                for operation, arguments in _recorded(step, model, shape):
                    yield f"{scale} {architecture}, {case}", operation, arguments


def _model(architecture: str, settings: Settings) -> nn.Module:
    segment = settings.spectrogram
    return build_model(
        architecture, settings=settings.model, segment_frames=segment.segment_frames, num_bins=segment.num_bins
    )


def _train(model: nn.Module, x: Tensor, y: Tensor) -> None:
    with torch.autocast(x.device.type, torch.bfloat16):
        logits = model(x)
    torch.autograd.grad(F.cross_entropy(logits.float(), y), list(model.parameters()))


def _attack(model: nn.Module, x: Tensor, y: Tensor) -> None:
    FGSM(model, eps=0.1)(x, y)


def _recorded(step: Any, model: nn.Module, shape: tuple[int, ...]) -> list[tuple[str, tuple[Any, ...]]]:
    """Run `step` on tensors without values, and choose no reference for small maps."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(norm_relu, "SMALL", 0))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        operations = stack.enter_context(OperationsSeen())
        step(model, torch.empty(shape), torch.zeros(shape[0], dtype=torch.int64))
    ours = [(name.partition("::"), arguments) for name, arguments in operations.seen]
    return [(name, tree_map_only(Tensor, _meta, args)) for (library, _, name), args in ours if library == LIBRARY]


def _meta(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
