"""Digests of code that people bring along: a changed class of the same name must not be served old results."""

import ast
import functools
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from fastser.runtime.digests import digest

_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_OWN = ("fastser", "fastser_kernels")


def code_digest(*roots: object) -> str | None:
    """Return a digest of the code behind some objects, or None if all of it belongs to fastser or to a library.

    The digest covers the modules that define the objects, the modules of the same kind that these import, and plain
    values bound to the objects (closures, default arguments, `functools.partial`, dataclass fields). Comments,
    docstrings and layout do not change it.

    Args:
        roots: Functions, classes, modules, instances, partial objects.
    """
    modules: dict[str, ModuleType] = {}
    loose: list[str] = []
    values: list[str] = []
    for found in _reachable(roots):
        if isinstance(found, ModuleType):
            modules[found.__name__] = found
        elif isinstance(found, CodeType):
            loose.append(_code_text(found))
        else:
            values.append(repr(found))
    if not modules and not loose:
        return None
    return digest({name: _normalised(module) for name, module in modules.items()}, sorted(loose), values)


def _reachable(roots: tuple[object, ...]) -> Iterator[ModuleType | CodeType | str | int | float | bool | None]:
    """Yield the foreign modules, the code objects without a source file, and the plain values behind some objects."""
    pending: list[object] = list(roots)
    seen: set[int] = set()
    kept: list[object] = []  # an id is unique only while its object lives
    while pending:
        item = pending.pop()
        if id(item) in seen and not isinstance(item, str | int | float | bool | None):
            continue
        seen.add(id(item))
        kept.append(item)
        if item is None or isinstance(item, str | int | float | bool):
            yield item
        elif isinstance(item, tuple | list):
            pending += item
        elif isinstance(item, functools.partial):
            pending += [item.func, *item.args, *item.keywords.values()]
        elif isinstance(item, MethodType):
            pending += [item.__func__, item.__self__]
        elif isinstance(item, ModuleType):
            if _is_foreign(item):
                yield item
                pending += [value for value in vars(item).values() if isinstance(value, ModuleType)]
                pending += [m for value in vars(item).values() if (m := _module_of(value)) is not None]
        elif isinstance(item, FunctionType):
            pending += [*(cell.cell_contents for cell in item.__closure__ or ()), *(item.__defaults__ or ())]
            module = _module_of(item)
            if module is not None:
                pending.append(module)
            elif item.__module__ not in sys.modules or _is_interactive(item):
                yield item.__code__
        elif isinstance(item, type):
            pending += [base for base in item.__mro__[1:] if base is not object]
            module = _module_of(item)
            if module is not None:
                pending.append(module)
            else:
                pending += [value for value in vars(item).values() if isinstance(value, FunctionType)]
        else:
            pending.append(type(item))
            pending += vars(item).values() if hasattr(item, "__dict__") else []
            pending += [getattr(item, name, None) for name in getattr(type(item), "__slots__", ())]


def _module_of(value: object) -> ModuleType | None:
    """Return the foreign module that defines a function or class, if it has a source file."""
    if not isinstance(value, FunctionType | type):
        return None
    module = sys.modules.get(value.__module__)
    return module if module is not None and _is_foreign(module) else None


def _is_foreign(module: ModuleType) -> bool:
    """Return whether a module has a source file that belongs neither to fastser nor to an installed library."""
    file = getattr(module, "__file__", None)
    if module.__name__.partition(".")[0] in _OWN or not file or not file.endswith(".py") or not Path(file).is_file():
        return False
    return not any(Path(file).resolve().is_relative_to(library) for library in _LIBRARIES)


def _is_interactive(function: Callable[..., Any]) -> bool:
    """Return whether a function was defined without a source file, as in a notebook."""
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    return file is None and function.__module__ not in sys.builtin_module_names


def _normalised(module: ModuleType) -> str:
    """Return the syntax tree of a module as text, without docstrings."""
    tree = ast.parse(
        inspect.getsource(module) if module.__name__ == "__main__" else Path(str(module.__file__)).read_text()
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _code_text(code: CodeType) -> str:
    """Return instructions, names and constants of a function, those of inner functions included."""
    constants = [_code_text(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))
