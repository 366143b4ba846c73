"""Texts of single cells, which every format of a table shares."""

from collections.abc import Sequence

from fastser.evaluation.statistics import Difference
from fastser.models import MODELS
from fastser.report.aggregation import Score
from fastser.report.published import published
from fastser.report.tables import Row
from fastser.runtime.counted import counted
from fastser.settings import PAPER_CLASSES
from fastser.training.yardsticks import LOWEST_USEFUL, YARDSTICKS

BELOW = "↓"
"""Mark of a network that is below the yardstick `LOWEST_USEFUL` in its column."""


def model_title(name: str) -> str:
    """Return the title of a network, a yardstick or a quoted study."""
    if name in YARDSTICKS:
        return f"{YARDSTICKS[name].title} (not in the paper)"
    return MODELS[name].title if name in MODELS else f"{name} (quoted)"


def plain_title(name: str) -> str:
    """Return the title of a network or a yardstick, and the name of anything else."""
    return YARDSTICKS[name].title if name in YARDSTICKS else MODELS[name].title if name in MODELS else name


def condition_title(row: Row, several_tasks: bool) -> str:
    """Return the title of the columns of a condition.

    Args:
        row: A row of the condition.
        several_tasks: Whether the table has several tasks, so that the title names the corpus too.
    """
    parts = [row.title] if row.title else []
    return ", ".join(parts + [row.corpus] * (several_tasks or not parts))


def paper_corpus(task: str, rows: Sequence[Row | None]) -> str:
    """Return the title of the paper's corpora of a task, with the paper's number of classes where ours is another.

    Args:
        task: Name of the task.
        rows: Rows of a table or a column.
    """
    title = published().corpora.get(task, task)
    ours = next((len(score.confusion) for row in rows if row and (score := row.measured)), len(PAPER_CLASSES))
    return title if ours == len(PAPER_CLASSES) else f"{title}, {counted(len(PAPER_CLASSES), 'class')}"


def paper_text(row: Row | None) -> str:
    """Return the paper's number, "n/a" where our copy of the paper lost it, or "-" where the paper has none."""
    if row is None or row.yardstick:
        return "-"
    return "n/a" if row.paper_uar is None else plus_minus(row.paper_uar, row.paper_std)


def plus_minus(percent: float, std: float | None) -> str:
    """Return a mean with its standard deviation."""
    return f"{percent:.1f}" if std is None else f"{percent:.1f} ± {std:.1f}"


def printed(score: Score) -> float:
    """Return the mean UAR in percent, rounded as it is printed."""
    return round(100 * score.mean, 1)


def ours_text(score: Score) -> str:
    """Return our mean UAR in percent, with the standard deviation over repeats."""
    return plus_minus(printed(score), None if score.std is None else 100 * score.std)


def interval_text(score: Score) -> str:
    """Return the 95 % interval in percent, or an empty text where there is none."""
    return f"{100 * score.interval.low:.1f} to {100 * score.interval.high:.1f}" if score.interval else ""


def signed_range(ends: Difference) -> str:
    """Return the interval of a difference in percentage points: "+1.5 to +12.7"."""
    return f"{100 * ends.low:+.1f} to {100 * ends.high:+.1f}"


def difference_text(value: float, ends: Difference | None) -> str:
    """Return a difference in percentage points with its interval, if there is one: "+7.0 (+1.5 to +12.7)"."""
    return f"{100 * value:+.1f}" + (f" ({signed_range(ends)})" if ends else "")


def runs_text(rows: Sequence[Row]) -> str:
    """Return repeats x folds behind the rows of one system and task, or how much of them is finished."""
    planned = [row.ours for row in rows if row.ours]
    if not planned:
        return "-"
    fewest = min(planned, key=lambda score: score.finished)
    if not fewest.complete:
        repeats = f"{fewest.repeats} of {counted(fewest.planned_repeats, 'repeat')}"
        return f"{repeats}, incomplete ({fewest.finished} of {counted(fewest.planned, 'run')})"
    return f"{fewest.repeats} x {len(fewest.by_fold)}"


def best_and_below(column: Sequence[Row | None]) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the systems that are the best networks of a column, and those below `LOWEST_USEFUL`.

    There is no best network where a column has only one, or where the highest UAR is 0.0.

    The finished folds of an incomplete repeat may be the hard ones, so a network without a whole repeat is not marked
    as below the yardstick.

    Args:
        column: Rows of one condition and task.
    """
    measured = [(row, row.measured) for row in column if row and row.measured]
    networks = [(row, score) for row, score in measured if not row.yardstick]
    highest = max((printed(score) for _, score in networks), default=0.0)
    lowest_useful = next((s for row, s in measured if row.model == LOWEST_USEFUL and s.repeats), None)
    below = {
        row.system
        for row, score in networks
        if lowest_useful and score.repeats and printed(score) < printed(lowest_useful)
    }
    best = {row.system for row, score in networks if printed(score) == highest}
    return best if len(networks) > 1 and highest > 0 else set(), below
