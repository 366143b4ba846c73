"""Subjects: models under test, with everything that the way to their input needs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import nn

from fastser.data.corpora.canonical import canonical_emotion
from fastser.data.normalisation import Normalisation
from fastser.evaluation.model_error import ModelError
from fastser.recognition.build import model_of, takes_utterances
from fastser.recognition.model_file import read_model_file
from fastser.recognition.packaged_models import model_path
from fastser.robustness.model_state import UnknownStateError, state_digest
from fastser.runtime.code_digest import code_digest
from fastser.runtime.digests import digest
from fastser.runtime.files import printable
from fastser.settings import Settings

Inputs = Literal["segments", "waveform"]
"""Kinds of input that a model takes."""


@dataclass(frozen=True)
class Subject:
    """A model under test.

    Attributes:
        model: A module, or a callable on NumPy arrays.
        classes: Names of its outputs, in their order.
        inputs: "segments" of normalised spectrograms, or "waveform".
        normalisation: Normalisation of the segments, or None for that of the tested corpus.
        settings: Audio, spectrogram, noise and attack settings.
        title: Name for tables.
        training: What its file of weights says about the training (`ModelDescription.training`). Empty otherwise.
    """

    model: Any
    classes: tuple[str, ...]
    inputs: Inputs
    normalisation: Normalisation | None
    settings: Settings
    title: str
    training: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str | None:
        """Digest of state and code, or None for a callable or a module whose state is not known."""
        if not isinstance(self.model, nn.Module):
            return None
        try:
            state = state_digest(self.model)
        except UnknownStateError:
            return None
        return digest(state, code_digest(*{type(module) for module in self.model.modules()}))


def subject_of(
    model: Any,
    settings: Settings,
    *,
    classes: Sequence[str] | None = None,
    inputs: Inputs = "segments",
    normalisation: Normalisation | tuple[float, float] | None = None,
    title: str | None = None,
) -> Subject:
    """Return the subject of a model, a callable, or a file of weights that fastser kept.

    Args:
        model: A module, a callable on arrays, the path of a file of weights, or the name of a packaged model.
        settings: Settings. A file of weights brings its own audio, spectrogram and model settings.
        classes: Names of the outputs in their order. A file of weights brings them along.
        inputs: "segments" or "waveform".
        normalisation: Mean and standard deviation in decibels. A file of weights brings them along.
        title: Name for tables, by default that of the class.

    Raises:
        ModelError: If the file cannot be used, or the classes of another model are not given.
    """
    if isinstance(model, str | Path):
        given = {"classes": classes, "normalisation": normalisation, "inputs": None if inputs == "segments" else inputs}
        if foreign := [name for name, value in given.items() if value is not None]:
            raise ModelError(f"{printable(model)}: a file of weights brings its {foreign[0]} along; leave it out")
        return _from_weights(model_path(model), settings, title)
    if inputs not in ("segments", "waveform"):
        raise ModelError(f"inputs is {inputs!r}, expected 'segments' or 'waveform'")
    if classes is None:
        raise ModelError("give classes (--classes): the names of the model's outputs, in their order")
    classes = [canonical_emotion(name) for name in classes]
    if len(set(classes)) < max(len(classes), 2):
        raise ModelError(f"classes are {', '.join(classes)}: expected two or more different names")
    if settings.spectrogram.normalisation != "training-set" and inputs == "waveform":
        raise ModelError(
            f"spectrogram.normalisation={settings.spectrogram.normalisation} is of segments, and inputs are waveforms: "
            "leave it out"
        )
    if normalisation is not None and inputs == "waveform":
        raise ModelError("normalisation (--normalisation) is of segments, and inputs are waveforms: leave it out")
    if isinstance(normalisation, tuple):
        if settings.spectrogram.normalisation != "training-set":
            raise ModelError(
                "normalisation (--normalisation) is in decibels, and with spectrogram.normalisation="
                f"{settings.spectrogram.normalisation} the spectrograms are standardised before: leave one of them out"
            )
        normalisation = Normalisation(*normalisation)
    if normalisation is not None and not (math.isfinite(normalisation.mean) and 0 < normalisation.std < math.inf):
        numbers = f"{normalisation.mean:g}, {normalisation.std:g}"
        raise ModelError(f"normalisation is {numbers}: expected a mean in decibels and a deviation above 0")
    named = type(model) if isinstance(model, nn.Module) else model
    name = title or str(getattr(named, "__name__", type(model).__name__))
    return Subject(model, tuple(classes), inputs, normalisation, settings, name)


def _from_weights(path: Path, settings: Settings, title: str | None) -> Subject:
    description, weights = read_model_file(path)
    own, name = description.settings, description.architecture
    if takes_utterances(description):
        raise ModelError(
            f"{printable(path)}: '{name}' is a yardstick of whole utterances; give the weights of a network"
        )
    settings = settings.model_copy(update={part: getattr(own, part) for part in ("audio", "spectrogram", "model")})
    model = model_of(path, description, weights)
    classes, training = description.classes, description.training
    return Subject(model, classes, "segments", description.normalisation, settings, title or name, training)
