"""Order in which the runs of a plan are begun."""

from collections.abc import Mapping, Sequence

from fastser.experiment.grid import RunId


def longest_first(runs: Sequence[RunId], seconds: Mapping[RunId, float]) -> list[RunId]:
    """Sort runs by repeat, and within a repeat the longest first.

    With whole repeats first, an interrupted grid holds whole comparisons of all models. With the longest runs first, no
    worker is left with a long run at the end. Runs of equal length stay in the order of the plan.

    Args:
        runs: The plan.
        seconds: Estimated seconds. A run that is not in it has nothing left to do.
    """
    return sorted(runs, key=lambda run_id: (run_id.point.repeat, -seconds.get(run_id, 0.0)))
