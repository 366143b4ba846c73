"""In which order the trainings of a plan are begun."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from fastser.experiment.grid import GridPoint

_Cell = TypeVar("_Cell", bound=GridPoint)


def longest_first(cells: Sequence[_Cell], seconds: Mapping[_Cell, float]) -> list[_Cell]:
    """Repeat by repeat, and in each the longest first, so that no straggler is left when the workers run out of work.

    Whole repeats come first because a run that is stopped half-way then holds whole comparisons of all models.

    Args:
        cells: The plan.
        seconds: Estimated seconds; a cell that is not there has nothing left to do.

    Returns:
        The same cells; those that take equally long stay in the order of the plan.
    """
    return sorted(cells, key=lambda cell: (cell.repeat, -seconds.get(cell, 0.0)))
