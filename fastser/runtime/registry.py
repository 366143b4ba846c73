"""Registries of named objects: corpus readers, models, attacks, conditions, metrics, tables, executors."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Protocol, TypeVar


class Named(Protocol):
    """An object with a name."""

    @property
    def name(self) -> str:
        """Return the name that the command line and the results use."""


T = TypeVar("T", bound=Named)


class UnknownNameError(LookupError):
    """A name that a registry does not hold. The message lists the known names."""

    def __str__(self) -> str:
        return str(self.args[0])


class Registry(Mapping[str, T]):
    """Objects of one kind by name, in the order in which they were registered.

    Args:
        kind: Singular noun for messages, such as "model".
        items: The first objects.

    Example:
        >>> from types import SimpleNamespace
        >>> colours = Registry("colour", [SimpleNamespace(name="red")])
        >>> colours.register(SimpleNamespace(name="blue")).name
        'blue'
        >>> list(colours)
        ['red', 'blue']
        >>> colours["bleu"]
        Traceback (most recent call last):
        ...
        fastser.runtime.registry.UnknownNameError: there is no colour 'bleu'; did you mean 'blue'? Known: red, blue
    """

    def __init__(self, kind: str, items: Iterable[T] = ()) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        for item in items:
            self.register(item)

    def register(self, item: T) -> T:
        """Add an object and return it.

        Raises:
            ValueError: If the name is taken.
        """
        if item.name in self._items:
            raise ValueError(f"there is already a {self.kind} '{item.name}'; register it under another name")
        self._items[item.name] = item
        return item

    @contextmanager
    def including(self, *items: T) -> Iterator[None]:
        """Register objects for the duration of a `with` block."""
        before = dict(self._items)
        try:
            for item in items:
                self.register(item)
            yield
        finally:
            self._items = before

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            near = get_close_matches(name.strip().lower(), self._items, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise UnknownNameError(f"there is no {self.kind} '{name}'{hint} Known: {', '.join(self._items)}")
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
