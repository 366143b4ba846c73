"""Models from their descriptions and weights."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fastser.evaluation.model_error import ModelError
from fastser.models import build_model
from fastser.recognition.model_file import ModelDescription
from fastser.runtime.files import printable
from fastser.runtime.random import seeded
from fastser.training.yardsticks import YARDSTICKS, UtteranceClassifier


def takes_utterances(description: ModelDescription) -> bool:
    """Return whether a model is a yardstick, which takes whole utterances instead of segments."""
    return description.architecture in YARDSTICKS


def model_of(path: Path, description: ModelDescription, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a model with its weights, on the CPU and in eval mode.

    Args:
        path: File for messages.
        description: Description of the model.
        weights: State dict.

    Raises:
        ModelError: If the architecture is not known, or the weights do not fit it.
    """
    name, spectrogram = description.architecture, description.settings.spectrogram
    try:
        if takes_utterances(description):
            model: nn.Module = UtteranceClassifier(*(weights[part] for part in ("weight", "bias", "mean", "std")))
        else:
            with seeded(0, torch.device("cpu")):  # fresh weights are drawn, and then replaced
                model = build_model(
                    name,
                    len(description.classes),
                    description.settings.model,
                    spectrogram.segment_frames,
                    spectrogram.num_bins,
                )
        model.load_state_dict(dict(weights))
    except (LookupError, RuntimeError) as error:
        raise ModelError(f"{printable(path)}: its weights do not fit the model '{name}' ({error})") from None
    return model.eval()
