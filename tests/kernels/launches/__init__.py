"""Launches of every kernel at the models' shapes, on meta tensors, for ahead-of-time compilation: one file per family.

Each file has `launches()`, which yields a name and a function that calls launchers; the launches are recorded, not run.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator


def all_launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """Every family's launches, named "family: case"."""
    for module in pkgutil.iter_modules(__path__):
        family = importlib.import_module(f"{__name__}.{module.name}")
        for name, run in family.launches():
            yield f"{module.name}: {name}", run
