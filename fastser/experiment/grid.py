"""The grid of runs: task, model, augmentation, fold and repeat."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from fastser.experiment.tasks import TASKS
from fastser.training.yardsticks import YARDSTICK_AUGMENTATION, YARDSTICKS


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One point of the grid: one model trained once.

    Attributes:
        task: Name of the task.
        model: Name of the model.
        augmentation: Name of the augmentation.
        fold: Name of the fold. It is "all" for the cross-corpus task.
        repeat: 1, 2, ... Each repeat has seeds of its own.
    """

    task: str
    model: str
    augmentation: str
    fold: str
    repeat: int

    @property
    def label(self) -> str:
        """Text for people, "proposed, speed+mixup, fold Ses01F, repeat 1"."""
        return f"{self.model}, {self.augmentation}, fold {self.fold}, repeat {self.repeat}"


@dataclass(frozen=True, slots=True)
class RunId:
    """Identity of a run: a point of the grid with the data and settings that the run depends on.

    Attributes:
        point: The point of the grid.
        corpus: Title of the corpora, "EMO-DB" or "EMO-DB -> RAVDESS".
        key: 16 hexadecimal digits that cover settings, data, code and point. It is the name of the run's files.
    """

    point: GridPoint
    corpus: str
    key: str

    @property
    def label(self) -> str:
        """Text for people, "EMO-DB: proposed, speed+mixup, fold 03, repeat 1"."""
        return f"{self.corpus}: {self.point.label}"

    def to_json(self) -> dict[str, object]:
        """Return plain values for a JSON file."""
        return {**asdict(self.point), "corpus": self.corpus, "key": self.key}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "RunId":
        """Rebuild an identity from the values of `to_json`."""
        rest = dict(values)
        corpus, key = str(rest.pop("corpus")), str(rest.pop("key"))
        return cls(GridPoint(**rest), corpus, key)  # type: ignore[arg-type]


def plan(
    fold_names: Mapping[str, Sequence[str]],
    models: Sequence[str],
    augmentations: Sequence[str],
    repeats: int,
    wanted: Callable[[GridPoint], bool] = lambda _: True,
) -> tuple[GridPoint, ...]:
    """Return the points of the grid that are wanted.

    Args:
        fold_names: Folds of each task that can be run, by name of the task.
        models: Names of models, yardsticks among them, in the order of the tables.
        augmentations: Names of the augmentations of networks, in the order of the tables.
        repeats: Number of repeats.
        wanted: Selects points (`fastser.experiment.tables.wanted_by`).

    Returns:
        Points ordered by repeat, task, fold, model and augmentation, so that an interrupted run holds whole
        comparisons.
    """
    grid = (
        GridPoint(task, model, augmentation, fold, repeat)
        for repeat in range(1, repeats + 1)
        for task in TASKS
        for fold in fold_names.get(task, ())
        for model in models
        for augmentation in ((YARDSTICK_AUGMENTATION,) if model in YARDSTICKS else augmentations)
    )
    return tuple(point for point in grid if wanted(point))
