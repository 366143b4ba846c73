"""What is measured: one file per operation, each with `CASES`."""

import importlib
import pkgutil

from benchmarks.work import Case


def all_cases() -> list[Case]:
    """Every case of every file."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return [case for name in names for case in importlib.import_module(f"{__name__}.{name}").CASES]
