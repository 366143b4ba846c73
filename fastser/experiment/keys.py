"""Keys of runs: digests of everything on which the numbers of a run depend."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import torch

from fastser.augmentation import AUGMENTATIONS
from fastser.data.dataset import Dataset
from fastser.data.noise import NoiseBank
from fastser.evaluation.conditions import CONDITIONS, Attacked, conditions
from fastser.experiment.folds import Fold
from fastser.experiment.grid import GridPoint
from fastser.models import MODELS, Architecture, build_model
from fastser.runtime.code_digest import code_digest
from fastser.runtime.digests import digest
from fastser.runtime.random import seeded
from fastser.settings import Settings
from fastser.training.yardsticks import YARDSTICKS

RESULT_FORMAT = 3
"""Number that is raised whenever the same settings and data no longer give the same numbers."""

SEGMENTATION = {"segment_frames", "segment_hop", "last_segment"}
"""Spectrogram settings that only models of segments use."""

ONLY_CONDITIONS = {"curve_eps"}
"""Attack settings that only choose conditions, whose names are in the key."""


def run_key(
    point: GridPoint,
    fold: Fold,
    settings: Settings,
    seed: int,
    datasets: Sequence[Dataset],
    noise: NoiseBank | None,
    kernels: str,
) -> str:
    """Return the key of a run, 16 hexadecimal digits.

    Settings that a run does not use are not part of its key: mixup's alpha of a run without mixup, attack settings of a
    task that is not attacked, noise settings where there is no noise. A yardstick depends on no segments, and of the
    training settings only on the weights of classes.

    Args:
        point: Point of the grid.
        fold: Its fold.
        settings: All settings, with a chosen precision.
        seed: Seed of the whole grid.
        datasets: Datasets that the task trains and tests on.
        noise: Noise recordings, or None.
        kernels: What the references compute although there are kernels, as `KernelChoice.key` says it.

    Raises:
        ValueError: If the precision of the training is not chosen yet.
    """
    if settings.training.precision == "auto":
        raise ValueError(
            "training.precision is auto, and results depend on the choice; "
            "call fastser.training.precision.with_chosen_precision first"
        )
    augmentation = AUGMENTATIONS[point.augmentation]
    tested = conditions(point.task, settings, with_noise=noise is not None)
    own_conditions = _conditions_digest(point.task, settings)
    depends: dict[str, Any] = {
        "format": RESULT_FORMAT,
        "seed": seed,
        "point": asdict(point),
        "settings": _model_settings(point.model, settings),
        "augmentation": [augmentation.speed, augmentation.mixup],
        "fold": [fold.train, fold.validation, fold.test],
        "data": [dataset.key for dataset in datasets],
        "conditions": [condition.name for condition in tested],
        "code": [_code_of_model(point.model, settings, len(datasets[0].corpus.classes)), own_conditions],
    }
    if augmentation.speed:
        depends["speed factors"] = settings.augmentation.speed_factors
    if augmentation.mixup:
        depends["mixup"] = [settings.augmentation.mixup_alpha, settings.augmentation.mixup_weights]
    if own_conditions is not None or any(isinstance(condition, Attacked) for condition in tested):
        unused = ONLY_CONDITIONS if own_conditions is None else None
        depends["attack"] = settings.attack.model_dump(mode="json", exclude=unused)
    if own_conditions is not None:  # an own condition may read any setting
        depends["noise settings"] = settings.noise
    if noise is not None and any(CONDITIONS[name].needs_noise for name in _families(point.task)):
        depends["noise"] = [settings.noise, noise.waveforms.key, noise.scenes]
    if len(datasets) > 1:
        depends["validation share"] = settings.protocol.cross_corpus_validation
    if kernels:
        depends["kernels"] = kernels
    return digest(depends)


def _model_settings(model: str, settings: Settings) -> list[Any]:
    """Return the settings that a model is trained and tested with. A yardstick takes whole utterances."""
    if model in YARDSTICKS:
        spectrogram = settings.spectrogram.model_dump(exclude=SEGMENTATION)
        return [settings.audio, spectrogram, settings.training.class_weights, settings.evaluation]
    return [settings.audio, settings.spectrogram, settings.model, settings.training, settings.evaluation]


def _code_of_model(model: str, settings: Settings, num_classes: int) -> str | None:
    """Return a digest of a model's code and configuration, or None for fastser's own models."""
    if model in YARDSTICKS:
        return code_digest(YARDSTICKS[model].fit)
    return _model_digest(MODELS[model], settings, num_classes)


def _families(task: str) -> list[str]:
    return [family.name for family in CONDITIONS.values() if task in family.tasks]


def _conditions_digest(task: str, settings: Settings) -> str | None:
    """Return a digest of the code of a task's conditions, or None if all are fastser's own."""
    families = [CONDITIONS[name] for name in _families(task)]
    return code_digest(*(family.expand for family in families), *(c for f in families for c in f.expand(settings)))


@cache
def _model_digest(architecture: Architecture, settings: Settings, num_classes: int) -> str | None:
    """Return a digest of a model's code, configuration and parameter shapes, or None for fastser's own models."""
    if code_digest(architecture.build) is None:
        return None
    spectrogram = settings.spectrogram
    with seeded(0, torch.device("cpu")):
        model = build_model(
            architecture.name, num_classes, settings.model, spectrogram.segment_frames, spectrogram.num_bins
        )
    shapes = {name: [str(value.dtype), list(value.shape)] for name, value in model.state_dict().items()}
    code = code_digest(architecture.build, *dict.fromkeys(type(module) for module in model.modules()))
    return digest(code, str(model), shapes)
