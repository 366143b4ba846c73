"""Digests of code that people bring along: a changed class of the same name must not be served old results."""

import ast
import functools
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType

from fastser.runtime.digests import digest

_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_OWN = ("fastser", "fastser_kernels")
_FOLLOWED = (FunctionType, type, ModuleType, functools.partial, str, int, float)
"""Kinds of global objects that belong to the code of a function without a source file."""


def code_digest(*roots: object) -> str | None:
    """Return a digest of the code behind some objects, or None if all of it belongs to fastser or to a library.

    The digest covers the modules that define the objects, the modules of the same kind that these import, and plain
    values bound to the objects (closures, default arguments, `functools.partial`, dataclass fields). Of code without a
    source file, such as that of a notebook, it covers the functions and classes that it uses by name. Comments,
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
        elif isinstance(found, CodeType | type):
            loose.append(_code_text(found) if isinstance(found, CodeType) else found.__qualname__)
        else:
            values.append(repr(found))
    if not modules and not loose:
        return None
    return digest({name: _normalised(module) for name, module in modules.items()}, sorted(loose), values)


def _reachable(roots: tuple[object, ...]) -> Iterator[ModuleType | CodeType | type | str | int | float | bool | None]:
    """Yield the foreign modules, the code and classes without a source file, and the plain values behind objects."""
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
        elif isinstance(item, dict):
            pending += item.items()
        elif isinstance(item, set | frozenset):
            pending += sorted(item, key=repr)
        elif isinstance(item, functools.partial):
            pending += [item.func, *item.args, *item.keywords.items()]
        elif isinstance(item, MethodType):
            pending += [item.__func__, item.__self__]
        elif isinstance(item, ModuleType):
            if _is_foreign(item):
                yield item
                pending += [value for value in vars(item).values() if isinstance(value, ModuleType)]
                pending += [m for value in vars(item).values() if (m := _module_of(value)) is not None]
                pending += _imported_by(item)
        elif isinstance(item, FunctionType):
            pending += [cell.cell_contents for cell in item.__closure__ or ()]
            pending += [item.__defaults__, item.__kwdefaults__]
            module = _module_of(item)
            if module is not None:
                pending.append(module)
            elif _has_no_source(item):
                yield item.__code__
                used = [item.__globals__.get(name) for name in _names_in(item.__code__)]
                pending += [value for value in used if isinstance(value, _FOLLOWED)]
        elif isinstance(item, type):
            pending += [base for base in item.__mro__[1:] if base is not object]
            module = _module_of(item)
            if module is not None:
                pending.append(module)
            elif _has_no_source(item):
                yield item
                pending += _members_of(item)
        else:
            pending.append(type(item))
            pending += vars(item).values() if hasattr(item, "__dict__") else []
            slots = [name for kind in type(item).__mro__ for name in vars(kind).get("__slots__", ())]
            pending += [getattr(item, name, None) for name in slots]


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


def _has_no_source(value: FunctionType | type) -> bool:
    """Return whether a function or class was defined without a source file, as in a notebook."""
    module = sys.modules.get(value.__module__)
    return module is None or (
        getattr(module, "__file__", None) is None and value.__module__ not in sys.builtin_module_names
    )


def _names_in(code: CodeType) -> list[str]:
    """Return the global names that a function and its inner functions use."""
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names_in(constant)]
    return [*code.co_names, *inner]


def _members_of(kind: type) -> Iterator[object]:
    """Yield the functions and the plain values in the body of a class."""
    for name, value in vars(kind).items():
        if isinstance(value, staticmethod | classmethod):
            yield value.__func__
        elif isinstance(value, property):
            yield from (value.fget, value.fset)
        elif isinstance(value, FunctionType):
            yield value
        elif not name.startswith("__"):
            yield name, value


def _imported_by(module: ModuleType) -> Iterator[ModuleType]:
    """Yield the loaded modules that a module imports, or imports names from."""
    package = module.__package__ or ""
    for node in ast.walk(_tree(module)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*parents, *([node.module] if node.module else [])])
            names = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        yield from (sys.modules[name] for name in names if name in sys.modules)


def _tree(module: ModuleType) -> ast.Module:
    """Parse the source of a module."""
    if module.__name__ == "__main__":
        return ast.parse(inspect.getsource(module))
    return ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))


def _normalised(module: ModuleType) -> str:
    """Return the syntax tree of a module as text, without docstrings."""
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _code_text(code: CodeType) -> str:
    """Return instructions, names and constants of a function and its inner functions, without docstrings."""
    constants = [_constant_text(constant) for constant in code.co_consts]
    if code.co_consts and isinstance(code.co_consts[0], str):
        constants[0] = "None"
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))


def _constant_text(constant: object) -> str:
    if isinstance(constant, CodeType):
        return _code_text(constant)
    return repr(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)
