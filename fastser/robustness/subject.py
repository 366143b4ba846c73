"""Subjects: models under test, with everything that the way to their input needs."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fastser.data.normalisation import Normalisation
from fastser.evaluation.adapter import ModelError
from fastser.models import build_model
from fastser.runtime.code_digest import code_digest
from fastser.runtime.digests import digest
from fastser.runtime.files import expanded, printable
from fastser.settings import Settings

_OF_EVERY_MODULE = vars(nn.Module()).keys()
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")

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
    """

    model: Any
    classes: tuple[str, ...]
    inputs: Inputs
    normalisation: Normalisation | None
    settings: Settings
    title: str

    @cached_property
    def key(self) -> str | None:
        """Digest of weights, buffers, plain attributes and code, or None for a callable whose state is not known."""
        if not isinstance(self.model, nn.Module):
            return None
        state = hashlib.sha256()
        for name, value in [*self.model.named_parameters(), *self.model.named_buffers()]:
            state.update(f"{name} {value.dtype} {list(value.shape)}".encode() + _bytes_of(value))
        for name, module in self.model.named_modules():
            for attribute in sorted(vars(module).keys() - _OF_EVERY_MODULE):
                value = vars(module)[attribute]
                state.update(f"{name}.{attribute} {_ADDRESS.sub('', repr(value))}".encode())
                state.update(_bytes_of(value) if isinstance(value, Tensor) else b"")
        code = code_digest(*{type(module) for module in self.model.modules()})
        return digest(state.hexdigest(), code)


def _bytes_of(tensor: Tensor) -> bytes:
    data: bytes = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return data


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
        model: A module, a callable on arrays, or the path of `OUT/models/KEY.safetensors`.
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
        return _from_weights(expanded(Path(model)), settings, title)
    if inputs not in ("segments", "waveform"):
        raise ModelError(f"inputs is {inputs!r}, expected 'segments' or 'waveform'")
    if classes is None:
        raise ModelError("give classes=[...]: the names of the model's outputs, in their order")
    if len(set(classes)) < max(len(classes), 2):
        raise ModelError(f"classes are {', '.join(classes)}: expected two or more different names")
    if isinstance(normalisation, tuple):
        normalisation = Normalisation(*normalisation)
    named = type(model) if isinstance(model, nn.Module) else model
    name = title or str(getattr(named, "__name__", type(model).__name__))
    return Subject(model, tuple(classes), inputs, normalisation, settings, name)


def _from_weights(path: Path, settings: Settings, title: str | None) -> Subject:
    try:
        with safe_open(path, "pt") as file:
            description = json.loads((file.metadata() or {}).get("fastser", "null"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{printable(path)}: no file of weights can be read ({error})") from None
    if description is None:
        raise ModelError(f"{printable(path)}: fastser did not write this file; give the module itself and its classes")
    own = Settings.model_validate(description["settings"])
    settings = settings.model_copy(update={name: getattr(own, name) for name in ("audio", "spectrogram", "model")})
    name, classes = str(description["run"]["model"]), tuple(description["classes"])
    frames, bins = own.spectrogram.segment_frames, own.spectrogram.num_bins
    try:
        model = build_model(name, len(classes), own.model, frames, bins)
        model.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{printable(path)}: its weights do not fit the model '{name}' ({error})") from None
    return Subject(model, classes, "segments", Normalisation(**description["normalisation"]), settings, title or name)
