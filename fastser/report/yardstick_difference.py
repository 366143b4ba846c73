"""Differences between networks and the yardstick that a useful network must beat."""

from collections.abc import Sequence

from fastser.report.aggregation import Score, difference_of_scores
from fastser.report.tables import Row
from fastser.training.yardsticks import LOWEST_USEFUL


def against_yardstick(rows: Sequence[Row]) -> list[str]:
    """Return for each row its UAR minus the yardstick's with a 95 % interval, as "+7.0 (+1.5 to +12.7)".

    Differences are paired by speaker and repeat, in percentage points. A row without a comparison has an empty text:
    the yardsticks themselves, single speakers, and cells that lack a fold.

    Args:
        rows: Rows of one table.
    """
    yardstick = {(row.task, row.condition): row.measured for row in rows if row.model == LOWEST_USEFUL}
    return ["" if row.yardstick else _text(yardstick.get((row.task, row.condition)), row.measured) for row in rows]


def _text(low: Score | None, high: Score | None) -> str:
    found = None if low is None or high is None else difference_of_scores(low, high)
    if found is None:
        return ""
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
