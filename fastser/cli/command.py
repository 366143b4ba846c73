"""Command lines made from dataclasses: each field with an `OptionInfo` is one option."""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from fastser.runtime.options import OptionInfo, flag_of

T = TypeVar("T")


def command_of(options: type[T], run: Callable[[T], int], doc: str) -> Callable[..., int]:
    """Return a function for `typer.Typer.command` that has one option for each field of a dataclass.

    The options that the dataclass defines itself come before those that it inherits, and those of a class before those
    of its base classes.

    Args:
        options: Dataclass whose fields are made by `fastser.runtime.options.option`.
        run: Called with the filled dataclass. Returns the exit status.
        doc: Text of `--help`.
    """
    hints = get_type_hints(options)
    by_name = {field.name: field for field in fields(options)}  # type: ignore[arg-type]
    names = dict.fromkeys(name for cls in options.__mro__ for name in inspect.get_annotations(cls) if name in by_name)
    parameters = [_parameter(by_name[name], hints[name]) for name in names]

    def command(**values: Any) -> int:
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return run(options(**{name: value for name, value in given.items() if value is not None}))

    command.__doc__ = doc
    command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
    return command


class RepeatedOptionError(ValueError):
    """An option that is given twice although it takes one value."""


def refuse_repeated(options: type, arguments: Sequence[str]) -> None:
    """Check that no option with a single value is given twice. Otherwise the last one would silently win.

    Args:
        options: As in `command_of`.
        arguments: Arguments of the command line.

    Raises:
        RepeatedOptionError: If there is such an option.
    """
    hints = get_type_hints(options)
    single = [field for field in fields(options) if get_origin(hints[field.name]) is not tuple]
    given = Counter(argument.partition("=")[0] for argument in arguments)
    for field in single:
        flag = flag_of(field.name, field.metadata["option"])
        if given[flag] > 1:
            raise RepeatedOptionError(f"{flag} is given {given[flag]} times; give it once")


def _parameter(field: "Field[Any]", hint: Any) -> inspect.Parameter:
    info: OptionInfo = field.metadata["option"]
    default = None if field.default in ((), MISSING) else field.default
    if info.positional:
        option = typer.Argument(help=info.help, metavar=info.metavar)
    else:
        option = typer.Option(flag_of(field.name, info), help=info.help, metavar=info.metavar, min=info.minimum)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[_typer_type(hint), option],
    )


def _typer_type(hint: Any) -> Any:
    """Return the type by which typer reads a field. A tuple becomes a list."""
    return list[get_args(hint)[0]] | None if get_origin(hint) is tuple else hint  # type: ignore[misc]
