"""Tables and figures of the paper: the part of the grid that each one shows.

The plan, the command line and the report read this list. The names of tables are known without torch.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastser.experiment.tasks import TASKS
from fastser.runtime.registry import Registry
from fastser.settings import Settings

if TYPE_CHECKING:
    from fastser.evaluation.condition import Condition
    from fastser.evaluation.conditions import ConditionFamily
    from fastser.experiment.grid import GridPoint


@dataclass(frozen=True, slots=True)
class Table:
    """A table or figure.

    Attributes:
        name: Name of its CSV file and on the command line, "table1".
        title: Title, "Table 1".
        heading: Heading after the title. `{source}`, `{target}`, `{noise}`, `{cross}` and `{corpora}` stand for the
            titles of the corpora.
        tasks: Names of the tasks that it shows.
        conditions: Names of the condition families that it shows.
        models: Names of the networks that it shows. None shows all. Yardsticks are always shown.
        augmentations: Names of the augmentations that it shows networks with. None shows all.
        part_of: Name of the table that it supplements. It is made whenever that table is made.
        curve: Whether a supplement is drawn as a chart over the levels of its conditions.
        bars: Whether a bar chart is drawn as `NAME.png`. The table must have one task and one condition.
        in_paper: Whether the paper has this table, so that its numbers stand beside ours.
        quotes_studies: Whether the studies that the paper quotes are shown beside any corpora.

    Raises:
        ValueError: If a chart is asked for more than one task or condition family.
    """

    name: str
    title: str
    heading: str
    tasks: tuple[str, ...]
    conditions: tuple[str, ...]
    models: tuple[str, ...] | None = None
    augmentations: tuple[str, ...] | None = None
    part_of: str | None = None
    curve: bool = False
    bars: bool = False
    in_paper: bool = False
    quotes_studies: bool = False

    def __post_init__(self) -> None:
        if self.bars and (len(self.tasks), len(self.conditions)) != (1, 1):
            raise ValueError(f"{self.name}: a bar chart shows one task and one condition; set bars=False")

    @property
    def kind(self) -> str:
        """Option by which it is requested, "table" or "figure"."""
        return "figure" if self.name.startswith("figure") else "table"

    def shows(self, point: "GridPoint") -> bool:
        """Return whether a run at this point of the grid is part of the table."""
        selected = (self.models is None or point.model in self.models) and (
            self.augmentations is None or point.augmentation in self.augmentations
        )
        return point.task in self.tasks and (selected or _is_yardstick(point.model))

    def trains_on(self, role: str, augmentations: Collection[str]) -> bool:
        """Return whether it shows a model that is trained on the corpus of a role with one of the augmentations."""
        shown = self.augmentations is None or any(name in self.augmentations for name in augmentations)
        return bool(augmentations) and shown and any(TASKS[task].trains_on == role for task in self.tasks)

    def columns(self, settings: Settings) -> "list[Condition]":
        """Return the conditions that the table shows."""
        return [condition for family in self.conditions for condition in _family(family).expand(settings)]

    @property
    def needs_noise(self) -> bool:
        """Whether nothing of the table can be filled without noise recordings."""
        return all(_family(family).needs_noise for family in self.conditions)

    def missing(self, roles: Collection[str]) -> list[str]:
        """Return the roles that the table takes and that are not among `roles`."""
        takes_noise = any(_family(family).needs_noise for family in self.conditions)
        needed = [role for task in self.tasks for role in TASKS[task].roles] + ["noise"] * takes_noise
        return [role for role in dict.fromkeys(needed) if role not in roles]

    def can_be_filled(self, roles: Collection[str]) -> bool:
        """Return whether the roles are enough for at least one task of the table."""
        has_noise = "noise" in roles or not self.needs_noise
        return has_noise and any(set(TASKS[task].roles) <= set(roles) for task in self.tasks)


TABLES = Registry(
    "table",
    [
        Table(
            name="table1",
            title="Table 1",
            heading="UAR (%) on clean speech, no augmentation, {corpora}",
            tasks=("source", "target"),
            conditions=("clean",),
            augmentations=("none",),
            in_paper=True,
        ),
        Table(
            name="table2",
            title="Table 2",
            heading="UAR (%) on {source} with noise from {noise}",
            tasks=("source",),
            conditions=("noise",),
            in_paper=True,
        ),
        Table(
            name="table2-scenes",
            title="Table 2 by noise scene",
            heading="UAR (%) on {source} with each noise scene of {noise} alone",
            tasks=("source",),
            conditions=("noise-scenes",),
            part_of="table2",
        ),
        Table(
            name="table3",
            title="Table 3",
            heading="UAR (%) on {source} under adversarial attack",
            tasks=("source",),
            conditions=("attacks",),
            in_paper=True,
        ),
        Table(
            name="table3-eps",
            title="Table 3 by eps",
            heading="UAR (%) on {source} under BIM with each eps",
            tasks=("source",),
            conditions=("bim-curve",),
            part_of="table3",
            curve=True,
        ),
        Table(
            name="table4",
            title="Table 4",
            heading="UAR (%) across corpora beside published studies, {cross}",
            tasks=("cross",),
            conditions=("cross-corpus",),
            models=("proposed",),
            quotes_studies=True,
            in_paper=True,
        ),
        Table(
            name="figure2",
            title="Figure 2",
            heading="UAR (%) across corpora, {cross}",
            tasks=("cross",),
            conditions=("cross-corpus",),
            bars=True,
            in_paper=True,
        ),
    ],
)
"""All tables and figures, in the order of the report."""


def requestable() -> list[str]:
    """Return the names of the tables that can be asked for; supplements come with the table that they supplement."""
    return [table.name for table in TABLES.values() if table.part_of is None]


def tables_of(point: "GridPoint") -> frozenset[str]:
    """Return the names of the tables that show a run at this point of the grid."""
    return frozenset(table.name for table in TABLES.values() if table.part_of is None and table.shows(point))


def wanted_by(tables: Iterable[str], point: "GridPoint") -> bool:
    """Return whether one of the tables shows a run at this point of the grid."""
    return not tables_of(point).isdisjoint(tables)


def _family(name: str) -> "ConditionFamily":
    from fastser.evaluation.conditions import CONDITIONS  # imports torch

    return CONDITIONS[name]


def _is_yardstick(model: str) -> bool:
    from fastser.training.yardsticks import YARDSTICKS  # imports torch

    return model in YARDSTICKS
