"""Command lines made from dataclasses: each field with an `OptionInfo` is one option."""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from fastser import __version__
from fastser.cli.config import FLAG
from fastser.runtime.errors import UserError
from fastser.runtime.options import Group, OptionInfo, named_fields, spellings

T = TypeVar("T")

HELP_WIDTH = 100
"""Largest width of `--help`, in characters."""


class GroupedCommand(TyperCommand):
    """A command whose `--help` shows options in groups, and arguments by their placeholders alone."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the line "Usage:" behind the name of the command."""
        arguments = [parameter for parameter in self.get_params(ctx) if parameter.param_type_name == "argument"]
        return [str(self.options_metavar), *(str(argument.metavar) for argument in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each group."""
        rest = "Other options"
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{group: [] for group in Group}, rest: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if parameter.param_type_name == "argument":
                sections["Arguments"].append((str(parameter.metavar), getattr(parameter, "help", "")))
            elif record is not None:
                sections[getattr(parameter, "rich_help_panel", None) or rest].append(record)
        if not any(sections[group] for group in Group):
            sections["Options"] = sections.pop(rest)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def application(options: type[T], run: Callable[[T], int], doc: str) -> typer.Typer:
    """Return the command of a door. The arguments are those of `command_of`."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"max_content_width": HELP_WIDTH}
    app.command(cls=GroupedCommand, context_settings=settings)(command_of(options, run, doc))
    return app


def command_of(options: type[T], run: Callable[[T], int], doc: str) -> Callable[..., int]:
    """Return a function for `typer.Typer.command` that has one option for each field of a dataclass.

    Options are ordered by their groups. In a group, the options that the dataclass defines itself come before those
    that it inherits, those of a class before those of its base classes, and rare ones last. Every command has
    `--config` and `--version`.

    Args:
        options: Dataclass whose fields are made by `fastser.runtime.options.option`.
        run: Called with the filled dataclass. Returns the exit status.
        doc: Text of `--help`.
    """
    hints = get_type_hints(options)
    by_name = {field.name: field for field in fields(options)}  # type: ignore[arg-type]
    names = dict.fromkeys(name for cls in options.__mro__ for name in inspect.get_annotations(cls) if name in by_name)
    ordered = sorted((by_name[name] for name in names), key=_place)
    parameters = [_parameter(field, hints[field.name]) for field in ordered]
    parameters += [_extra("config", str | None, None, _CONFIG), _extra("version", bool, False, _VERSION)]

    def command(config: str | None, version: bool, **values: Any) -> int:  # noqa: ARG001  # read before the parsing
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return run(options(**{name: value for name, value in given.items() if value is not None}))

    command.__doc__ = doc
    command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
    return command


class RepeatedOptionError(UserError, ValueError):
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
    single = [field for field in named_fields(options) if get_origin(hints[field.name]) is not tuple]
    given = Counter(argument.partition("=")[0] for argument in arguments)
    for names in ((FLAG,), *(spellings(field.name, field.metadata["option"]) for field in single)):
        if (times := sum(given[name] for name in names)) > 1:
            raise RepeatedOptionError(f"{' or '.join(names)} is given {times} times; give it once")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fastser {__version__}")
        raise typer.Exit


_CONFIG = typer.Option(
    FLAG,
    help="TOML file of options, named as here but without the two hyphens. The command line wins.",
    metavar="FILE",
    show_default=False,
)
_VERSION = typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)


def _extra(name: str, hint: Any, default: Any, info: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, info])


def _place(field: "Field[Any]") -> tuple[int, bool]:
    """Return the key by which options are ordered."""
    info: OptionInfo = field.metadata["option"]
    groups = list(Group)
    return groups.index(info.group) if info.group else len(groups), info.rare


def _parameter(field: "Field[Any]", hint: Any) -> inspect.Parameter:
    info: OptionInfo = field.metadata["option"]
    default = None if field.default in ((), MISSING) else field.default
    if info.positional:
        parameter = typer.Argument(help=info.help, metavar=info.metavar)
    else:
        parameter = typer.Option(
            *spellings(field.name, info),
            help=info.help,
            metavar=info.metavar,
            min=info.minimum,
            rich_help_panel=info.group,
        )
    return _extra(field.name, _typer_type(hint), default, parameter)


def _typer_type(hint: Any) -> Any:
    """Return the type by which typer reads a field. A tuple becomes a list."""
    return list[get_args(hint)[0]] | None if get_origin(hint) is tuple else hint  # type: ignore[misc]
