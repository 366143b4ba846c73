"""Files of trained models: weights in `.safetensors`, with a description as JSON in the metadata entry `fastser`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fastser.data.normalisation import Normalisation
from fastser.evaluation.model_error import ModelError
from fastser.runtime.files import atomic_write, printable
from fastser.settings import Settings

MODEL_FORMAT = 2
"""Number that is raised whenever an earlier version could not read the files of this one."""

ENTRY = "fastser"
"""Name of the metadata entry, also in ONNX files."""


@dataclass(frozen=True)
class ModelDescription:
    """Everything that a file of weights says about its model.

    Attributes:
        architecture: Name of a network or of a yardstick.
        classes: Names of the outputs, in their order.
        normalisation: Normalisation of the model's input.
        settings: Settings. The file keeps the sections audio, spectrogram, model, training, augmentation, evaluation.
        training: Corpora, speakers, augmentation, epochs and seeds, as plain JSON.
        scores: Scores by condition, each with "condition", "uar", "accuracy" and, where they are known, "low" and
            "high", the ends of the 95 % interval of the UAR. Fractions.
        scores_of: Sentence that says which models and speakers the scores are of.
        environment: Machine, versions and commit.
        date: Date of the training, ISO 8601.
    """

    architecture: str
    classes: tuple[str, ...]
    normalisation: Normalisation
    settings: Settings
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Sequence[Mapping[str, Any]] = ()
    scores_of: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    date: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain JSON."""
        settings = self.settings.model_dump(mode="json")
        content = {
            "format": MODEL_FORMAT,
            "architecture": {"name": self.architecture, "settings": settings["model"]},
            "features": {"audio": settings["audio"], "spectrogram": settings["spectrogram"]},
            "normalisation": asdict(self.normalisation),
            "classes": self.classes,
            "training": {
                **self.training,
                "settings": {name: settings[name] for name in ("training", "augmentation")},
            },
            "evaluation": settings["evaluation"],
            "scores": {"of": self.scores_of, "conditions": self.scores},
            "environment": self.environment,
            "date": self.date,
        }
        return json.loads(json.dumps(content, allow_nan=False))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ModelDescription":
        """Rebuild a description. That of fastser 0.1.0 has no format number, and no corpora and scores.

        Raises:
            ValueError: If the content is of another format, or incomplete.
        """
        version = content.get("format", 1)
        if version == 1:
            settings, architecture, run = content["settings"], str(content["run"]["model"]), dict(content["run"])
            others: dict[str, Any] = {"training": {"run": run, "augmentation": run["augmentation"]}}
        elif version == MODEL_FORMAT:
            training = dict(content["training"])
            model, architecture = content["architecture"]["settings"], str(content["architecture"]["name"])
            settings = {**content["features"], "model": model, "evaluation": content["evaluation"]}
            settings |= training.pop("settings")
            scores = content["scores"]
            others = {"training": training, "scores": tuple(scores["conditions"]), "scores_of": scores["of"]}
            others |= {"environment": content["environment"], "date": content["date"]}
        else:
            raise ValueError(f"its format is {version}, this version of fastser knows {MODEL_FORMAT}")
        return cls(
            architecture,
            tuple(content["classes"]),
            Normalisation(**content["normalisation"]),
            Settings.model_validate(settings),
            **others,
        )


def write_model_file(path: Path, weights: Mapping[str, Tensor], description: ModelDescription) -> None:
    """Write weights and description, completely or not at all.

    Args:
        path: File that ends in `.safetensors`. Its folder is made if it is missing.
        weights: State dict on the CPU.
        description: Description of the model.

    Raises:
        OSError: If the file cannot be written.
    """
    metadata = {ENTRY: json.dumps(description.to_json())}
    content = save({name: value.contiguous() for name, value in weights.items()}, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_bytes(content)


def read_model_file(path: Path) -> tuple[ModelDescription, dict[str, Tensor]]:
    """Read a file that `write_model_file` or fastser 0.1.0 wrote.

    Returns:
        Description and state dict on the CPU.

    Raises:
        ModelError: If the file cannot be read, or has no description that this version knows.
    """
    try:
        with safe_open(path, "pt") as file:
            content = json.loads((file.metadata() or {}).get(ENTRY, "null"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{printable(path)}: cannot be read as a file of weights ({error})") from None
    if content is None:
        raise ModelError(f"{printable(path)}: fastser did not write this file, so it lacks classes and settings")
    try:
        return ModelDescription.from_json(content), weights
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
    except ValueError as error:
        reason = str(error)
    raise ModelError(f"{printable(path)}: its description cannot be used ({reason})")
