"""Launches of every kernel on meta tensors for ahead-of-time compilation. They are recorded and not run.

`model_operations` records the launches of the five models at both scales. One file per family adds the launches that
make batches, those of other models, and those on other GPUs. Its function `launches(batch)` yields names, each with a
function that calls launchers for so many segments.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from fastser_kernels.registration import OPERATIONS
from model_operations import model_operations


def all_launches(batch: int | None = None) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield every launch, named "family: case", for `batch` segments or, without it, for the batch of the settings."""
    families = [module.name for module in pkgutil.iter_modules(__path__)]
    for case, operation, arguments in _model_operations(batch):
        family = next(family for family in families if operation.startswith(family))
        yield f"{family}: {case}", partial(OPERATIONS[operation].launch, *arguments)
    for family in families:
        for case, run in importlib.import_module(f"{__name__}.{family}").launches(batch or 64):
            yield f"{family}: {case}", run


@cache
def _model_operations(batch: int | None) -> list[tuple[str, str, tuple[Any, ...]]]:
    return list(model_operations(batch))
