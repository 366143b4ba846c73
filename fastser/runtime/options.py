"""Options: dataclass fields that carry what a command line needs to know about them."""

from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from typing import Any


class Group(StrEnum):
    """Groups of options in `--help`, in the order of printing. Options without a group follow after them."""

    CORPORA = "Corpora"
    RUNS = "What runs"
    EXECUTION = "How it runs"
    RESULTS = "Results"


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """Command-line side of an option.

    Attributes:
        help: Help text, one or two sentences.
        flag: Name on the command line, such as "--set". None derives it from the field's name.
        also: Second spelling of the name, or None.
        metavar: Placeholder of the value, such as "NAME=PATH".
        minimum: Smallest number.
        executors: Names of the executors that the option is for. Empty for all.
        positional: Whether the value stands without a name before it.
        group: Group in `--help`, or None.
        rare: Whether `--help` shows it after the other options of its group.
    """

    help: str
    flag: str | None = None
    also: str | None = None
    metavar: str | None = None
    minimum: float | None = None
    executors: tuple[str, ...] = ()
    positional: bool = False
    group: Group | None = None
    rare: bool = False


def option(default: Any, help: str, **info: Any) -> Any:
    """Return a dataclass field with a default and an `OptionInfo`."""
    return field(default=default, metadata={"option": OptionInfo(help, **info)})


def named_fields(options: type) -> "list[Field[Any]]":
    """Return the options of a dataclass that have a name on the command line, which positional ones lack."""
    return [field for field in fields(options) if not field.metadata["option"].positional]


def flag_of(name: str, info: OptionInfo) -> str:
    """Return the name of an option on the command line, such as "--dry-run"."""
    return info.flag or "--" + name.replace("_", "-")


def spellings(name: str, info: OptionInfo) -> tuple[str, ...]:
    """Return all names of an option on the command line, that of `flag_of` first."""
    return (flag_of(name, info), *([info.also] if info.also else []))
