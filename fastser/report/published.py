"""The published numbers and claims, read from `fastser/paper.toml`."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fastser.experiment.grid import Task


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Entry):
    """A published UAR in percent, with its standard deviation where the paper gives one."""

    task: Task
    model: str
    augmentation: str
    condition: str
    uar: float
    std: float | None = None
    source: str


class Study(_Entry):
    """Another study that a table of the paper quotes; `uar` is None where our copy lost the number."""

    table: str
    task: Task
    name: str
    condition: str
    uar: float | None = None
    source: str
    reference: str


class Claim(_Entry):
    """An ordering that the paper states; the fields are explained in `paper.toml`."""

    text: str
    source: str
    tasks: Sequence[Task]
    conditions: Sequence[str]
    along: Literal["model", "augmentation", "study"]
    at: Sequence[str]
    rising: Sequence[str] = ()
    best: str | None = None
    worst: str | None = None


class Published(_Entry):
    """All of `paper.toml`."""

    citation: str
    unknown: str
    corpora: Mapping[Task, str]
    number: Sequence[Number]
    study: Sequence[Study]
    claim: Sequence[Claim]

    def find(self, task: Task, model: str, augmentation: str, condition: str) -> Number | None:
        """The published number of one cell, None where our copy has none."""
        wanted = (task, model, augmentation, condition)
        return next((n for n in self.number if (n.task, n.model, n.augmentation, n.condition) == wanted), None)


@cache
def published() -> Published:
    """Read `paper.toml` once."""
    return Published.model_validate(tomllib.loads(resources.files("fastser").joinpath("paper.toml").read_text("utf-8")))
