"""Options from a TOML file (`--config FILE.toml`), read as if they stood at the start of the command line."""

import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from fastser.runtime.errors import UserError
from fastser.runtime.options import OptionInfo, named_fields, spellings

FLAG = "--config"

_ASSIGNMENTS = "NAME=VALUE"
"""Metavar of repeated options whose values are assignments, which can be a table in the file."""


class ConfigError(UserError, ValueError):
    """A file of options that cannot be used. The message is one sentence."""


def config_file(arguments: Sequence[str]) -> Path | None:
    """Return the file that `--config` names, or None."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == FLAG and (equals or arguments[index + 1 :]):
            return Path(value if equals else arguments[index + 1])
    return None


def config_arguments(options: type, arguments: Sequence[str]) -> list[str]:
    """Return what the file of `--config` adds to a command line, as arguments.

    Options that the command line gives are left out. Of assignments, such as those of `--set`, only the names that the
    command line assigns are left out.

    Args:
        options: Dataclass whose fields are made by `fastser.runtime.options.option`.
        arguments: Arguments of the command line.

    Raises:
        ConfigError: If the file cannot be read, is no TOML, or has an unknown key or a value of a wrong type.
    """
    path = config_file(arguments)
    if path is None:
        return []
    by_key = {name[2:]: f for f in named_fields(options) for name in spellings(f.name, f.metadata["option"])}
    hints = get_type_hints(options)
    given = {argument.partition("=")[0] for argument in arguments}
    added: list[str] = []
    for key, value in _content(path, path.absolute()).items():
        if key not in by_key:
            near = get_close_matches(key.replace("_", "-"), by_key, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; --help lists the options"
            raise ConfigError(f"{FLAG} {path}: there is no option '{key}'{hint}")
        texts = _texts(f"{FLAG} {path}: {key}", value, by_key[key], hints[by_key[key].name])
        names = spellings(by_key[key].name, by_key[key].metadata["option"])
        flag = names[0]
        if by_key[key].metadata["option"].metavar == _ASSIGNMENTS:
            assigned = {text.partition("=")[0].strip() for text in _values_of(flag, arguments)}
            texts = [text for text in texts if text.partition("=")[0].strip() not in assigned]
        elif not given.isdisjoint(names):
            continue
        added += [flag] * len(texts) if hints[by_key[key].name] is bool else [f"{flag}={text}" for text in texts]
    return added


def command_text(door: str, options: type, arguments: Sequence[str]) -> str:
    """Return a command line for reports, with what its `--config` added as a comment.

    Args:
        door: Name of the module, such as "fastser.reproduce".
        options: As in `config_arguments`.
        arguments: Arguments of the command line.
    """
    command = shlex.join(["python", "-m", door, *arguments])
    path = config_file(arguments)
    if path is None:
        return command
    return f"{command}  # {path} gives {shlex.join(config_arguments(options, arguments)) or 'nothing more'}"


@cache  # a pipe is read once, and the report shows what the command has read
def _content(path: Path, absolute: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(absolute.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{FLAG} {path}: {error.strerror}; give the path of a TOML file") from None
    except ValueError as error:  # of the encoding or of the syntax
        raise ConfigError(f"{FLAG} {path}: the file is not valid TOML: {error}") from None


def _values_of(flag: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield the values of an option of the command line."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == flag:
            yield from [value] if equals else arguments[index + 1 : index + 2]


def _texts(where: str, value: Any, field: "Field[Any]", hint: Any) -> list[str]:
    """Return the values of an option as the command line would give them.

    Raises:
        ConfigError: If the value has a wrong type.
    """
    info: OptionInfo = field.metadata["option"]
    repeated = get_origin(hint) is tuple
    if hint is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: expected true or false, got {value!r}")
        return ["true"] * value
    if isinstance(value, Mapping) and repeated and info.metavar == _ASSIGNMENTS:
        return [f"{name}={_value(where, leaf)}" for name, leaf in _leaves(value)]
    if isinstance(value, list) and not repeated and info.metavar == "A,B":
        return [",".join(_text(where, item, str) for item in value)]
    expected = next(kind for kind in (*get_args(hint), hint) if kind is not type(None))
    if repeated:
        return [_text(where, item, expected) for item in (value if isinstance(value, list) else [value])]
    return [_text(where, value, expected)]


def _text(where: str, value: Any, kind: type) -> str:
    """Return a single value as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        what = "a whole number" if kind is int else "a number" if kind is float else "a text"
        raise ConfigError(f"{where}: expected {what}, got {_shown(value)}")
    return str(value)


def _value(where: str, value: Any) -> str:
    """Return the value of an assignment as text."""
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except TypeError:
        raise ConfigError(f"{where}: expected a text, number or list, got {_shown(value)}") from None


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested tables with their dotted names."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _shown(value: Any) -> str:
    return "a table" if isinstance(value, Mapping) else str(value).lower() if isinstance(value, bool) else repr(value)
