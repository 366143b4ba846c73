"""Launches of every kernel on meta tensors, for ahead-of-time compilation; they are recorded, not run.

The launches of the five models at both scales follow from the models (`model_operations`). One file per family adds
launches that make batches, launches of other models, and launches on other GPUs. Its `launches(batch)` yields names and
functions that call launchers for a batch of that many segments.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial

from fastser_kernels.registration import OPERATIONS
from model_operations import model_operations


def all_launches(batch: int | None = None) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield every launch, named "family: case". `batch` replaces the batch size of the settings."""
    families = [module.name for module in pkgutil.iter_modules(__path__)]
    for case, operation, arguments in model_operations(batch):
        family = next(family for family in families if operation.startswith(family))
        yield f"{family}: {case}", partial(OPERATIONS[operation].launch, *arguments)
    for family in families:
        for case, run in importlib.import_module(f"{__name__}.{family}").launches(batch or 64):
            yield f"{family}: {case}", run
