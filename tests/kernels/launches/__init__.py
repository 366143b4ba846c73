"""Launches of every kernel on meta tensors, for ahead-of-time compilation; they are recorded, not run.

What the five models launch at both scales follows from the models (`model_operations`). One file per family adds what
makes batches, what other models may launch, and other GPUs: `launches(batch)` yields a name and a function that calls
launchers for so many segments.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial

from fastser_kernels.registration import OPERATIONS
from model_operations import model_operations


def all_launches(batch: int | None = None) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every launch, named "family: case"; `batch` segments, where it is not what the settings say."""
    families = [module.name for module in pkgutil.iter_modules(__path__)]
    for case, operation, arguments in model_operations(batch):
        family = next(family for family in families if operation.startswith(family))
        yield f"{family}: {case}", partial(OPERATIONS[operation].launch, *arguments)
    for family in families:
        for case, run in importlib.import_module(f"{__name__}.{family}").launches(batch or 64):
            yield f"{family}: {case}", run
