"""Models of users in the grid: `package.module:make_model`, imported and registered beside those of the paper."""

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastser.models import MODELS, Architecture, InputShape
from fastser.runtime.errors import UserError
from fastser.settings import ModelSettings, Settings
from fastser.training.yardsticks import YARDSTICKS


class OwnModelError(UserError, ValueError):
    """A model that cannot be imported or used. The message is one sentence."""


def imported(target: str, folder: Path) -> Callable[..., Any]:
    """Import the function that `package.module:function` names.

    The folder stays in `sys.path`, since a package may import parts of itself later.

    Args:
        target: Module and function.
        folder: Folder in which modules are looked for first.

    Raises:
        OwnModelError: If there is no such module or function.
    """
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise OwnModelError(f"--model {target}: expected MODULE:NAME, such as my_package.models:make_model")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise OwnModelError(f"--model {target}: there is no module '{error.name}'") from None
    except Exception as error:  # other people's code can fail in any way
        raise OwnModelError(f"--model {target}: the module fails: {type(error).__name__}: {error}") from error
    make = getattr(module, name, None)
    if make is None:
        raise OwnModelError(f"--model {target}: the module has no '{name}'")
    if not callable(make):
        raise OwnModelError(f"--model {target}: '{name}' cannot be called; give a function that returns the model")
    return make  # type: ignore[no-any-return]


def name_of(target: str) -> str:
    """Return the name of a model in results: its function, or its module if the function is called `make_model`.

    Example:
        >>> name_of("my_package.models:attention_net"), name_of("my_package.tcn:make_model")
        ('attention_net', 'tcn')
    """
    module, _, function = target.partition(":")
    return module.rpartition(".")[2] if function == "make_model" else function


def register_own_models(targets: Sequence[str], folder: Path) -> None:
    """Register models of users, so that `MODELS` has them after those of the paper. A registered one is left as it is.

    Args:
        targets: `package.module:function` of each. The function takes `num_classes`, `segment_frames` and `num_bins`,
            and returns a `torch.nn.Module` `[batch, segment_frames, num_bins] -> [batch, num_classes]` logits.
        folder: Folder in which modules are looked for first.

    Raises:
        OwnModelError: If one cannot be imported, or its name is taken.
    """
    for target in targets:
        make, name = imported(target, folder), name_of(target)
        build = partial(_built, make)
        if name in YARDSTICKS:
            raise OwnModelError(
                f"--model {target}: '{name}' is the name of a yardstick; give the function another name"
            )
        if name in MODELS:
            known = MODELS[name].build
            if isinstance(known, partial) and known.args == (make,):
                continue
            raise OwnModelError(f"--model {target}: there is already a model '{name}'; give the function another name")
        MODELS.register(Architecture(name, name, build))


def _built(make: Callable[..., nn.Module], _settings: ModelSettings, shape: InputShape) -> nn.Module:
    return make(num_classes=shape.num_classes, segment_frames=shape.segment_frames, num_bins=shape.num_bins)


def check_own_models(targets: Sequence[str], settings: Settings, num_classes: int) -> None:
    """Build each model once and look at its output.

    Raises:
        OwnModelError: If a model fails, has no parameters, or returns something else than logits.
    """
    shape = InputShape(num_classes, settings.spectrogram.segment_frames, settings.spectrogram.num_bins)
    for target in targets:
        try:
            model = MODELS[name_of(target)].build(settings.model, shape)
            segments = torch.zeros(2, shape.segment_frames, shape.num_bins, device="cpu")
            output = model.eval()(segments) if isinstance(model, nn.Module) else None
        except Exception as error:  # other people's code can fail in any way
            raise OwnModelError(f"--model {target}: the model fails: {type(error).__name__}: {error}") from error
        if not isinstance(model, nn.Module):
            raise OwnModelError(f"--model {target}: expected a torch.nn.Module, got {type(model).__name__}")
        if not isinstance(output, Tensor) or output.shape != (2, num_classes):
            got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise OwnModelError(
                f"--model {target}: for segments {list(segments.shape)} the model returned {got}, expected logits "
                f"[2, {num_classes}]"
            )
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise OwnModelError(f"--model {target}: the model has no parameters to train")
