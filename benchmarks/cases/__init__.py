"""Cases: one file per operation, each with a function `workload` and a list `CASES`."""

import importlib
import pkgutil

from benchmarks.case import Case


def all_cases() -> list[Case]:
    """Return the cases of all files."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return [case for name in names for case in importlib.import_module(f"{__name__}.{name}").CASES]
