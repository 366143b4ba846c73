"""Published numbers and claims, from `fastser/paper.toml`."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Entry):
    """A published UAR in percent, with its standard deviation if the paper gives one."""

    task: str
    model: str
    augmentation: str
    condition: str
    uar: float
    std: float | None = None
    source: str


class Study(_Entry):
    """A study that a table of the paper quotes. `uar` is None where our copy of the paper lost the number."""

    table: str
    task: str
    name: str
    condition: str
    uar: float | None = None
    source: str
    reference: str


class Claim(_Entry):
    """An order of results that the paper states. `paper.toml` explains the fields."""

    text: str
    source: str
    tasks: Sequence[str]
    conditions: Sequence[str]
    along: Literal["model", "augmentation", "study"]
    at: Sequence[str]
    rising: Sequence[str] = ()
    best: str | None = None
    worst: str | None = None


class Published(_Entry):
    """Content of `paper.toml`."""

    citation: str
    unknown: str
    corpora: Mapping[str, str]
    models: Sequence[str]
    augmentations: Sequence[str]
    number: Sequence[Number]
    study: Sequence[Study]
    claim: Sequence[Claim]

    def find(self, task: str, model: str, augmentation: str, condition: str) -> Number | None:
        """Return the published number of one cell, or None if our copy of the paper has none."""
        wanted = (task, model, augmentation, condition)
        return next((n for n in self.number if (n.task, n.model, n.augmentation, n.condition) == wanted), None)


@cache
def published() -> Published:
    """Read `paper.toml`, once per process."""
    return Published.model_validate(tomllib.loads(resources.files("fastser").joinpath("paper.toml").read_text("utf-8")))
