"""Order in which the runs of a plan are begun, and the time that they take in this order."""

import heapq
from collections.abc import Iterable, Mapping, Sequence

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


def makespan(seconds: Iterable[float], at_a_time: int) -> float:
    """Return the time until the last of some runs ends, if each begins as soon as a worker is free.

    Args:
        seconds: Duration of each run, in the order in which the runs are begun.
        at_a_time: Number of workers.

    Example:
        >>> makespan([3.0, 2.0, 2.0], at_a_time=2)
        4.0
    """
    free_at = [0.0] * at_a_time
    for duration in seconds:
        heapq.heappush(free_at, heapq.heappop(free_at) + duration)
    return max(free_at)
