"""Differences between networks and the yardstick that a useful network must beat."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastser.evaluation.statistics import SIGNIFICANCE, Difference, holm
from fastser.experiment.tasks import TASKS
from fastser.report.aggregation import Score, Scores, difference_of_scores
from fastser.report.cells import difference_text
from fastser.report.context import ReportContext
from fastser.report.tables import Row
from fastser.training.yardsticks import LOWEST_USEFUL, YARDSTICK_AUGMENTATION, YARDSTICKS


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
    return "" if found is None else difference_text(found.value, found)


@dataclass(frozen=True)
class ComparedNetwork:
    """A network and the yardstick `LOWEST_USEFUL` on the same utterances, without noise and attack.

    Attributes:
        task: Name of the task.
        model: Name of the network.
        augmentation: Name of its augmentation.
        ours: Score of the network.
        yardstick: Score of the yardstick.
        difference: Network minus yardstick, or None for a single speaker or an incomplete repeat.
        p_holm: p-value, corrected for the number of tested networks of the task. 1 without a difference.
    """

    task: str
    model: str
    augmentation: str
    ours: Score
    yardstick: Score
    difference: Difference | None
    p_holm: float = 1.0

    @property
    def value(self) -> float:
        """Network minus yardstick, over the repeats that both have where these can be compared."""
        return self.difference.value if self.difference else self.ours.mean - self.yardstick.mean

    @property
    def significant(self) -> bool:
        """Whether the difference would be seen by chance in fewer than 5 of 100 such tasks."""
        ends = self.difference
        return ends is not None and self.p_holm <= SIGNIFICANCE and not ends.low <= 0 <= ends.high


def compared_with_yardstick(context: ReportContext) -> list[ComparedNetwork]:
    """Compare every network that has a whole repeat with the yardstick `LOWEST_USEFUL`, task by task."""
    scores = Scores(context.expected, context.runs)
    networks = dict.fromkeys(
        (run_id.point.task, run_id.point.model, run_id.point.augmentation)
        for run_id in context.expected
        if run_id.point.model not in YARDSTICKS
    )
    found = []
    for task in TASKS.values():
        yardstick = scores.score(task.name, LOWEST_USEFUL, YARDSTICK_AUGMENTATION, task.undisturbed)
        if yardstick is None or not yardstick.repeats:
            continue
        of_task = []
        for cell in (cell for cell in networks if cell[0] == task.name):
            ours = scores.score(*cell, task.undisturbed)
            if ours is not None and ours.repeats:
                of_task.append(ComparedNetwork(*cell, ours, yardstick, difference_of_scores(yardstick, ours)))
        corrected = holm([network.difference.p if network.difference else None for network in of_task])
        found += [replace(network, p_holm=p) for network, p in zip(of_task, corrected, strict=True)]
    return found


def yardstick_sentences(networks: Sequence[ComparedNetwork], context: ReportContext) -> list[str]:
    """Return one sentence for each task: how many networks are above and below the yardstick."""
    sentences = []
    for task in dict.fromkeys(network.task for network in networks):
        of_task = [network for network in networks if network.task == task]
        above = [network for network in of_task if network.value > 0]
        below = [network for network in of_task if network.value < 0]
        sentences.append(
            f"{context.corpus(task)}: {YARDSTICKS[LOWEST_USEFUL].title} has a UAR of "
            f"{100 * of_task[0].yardstick.mean:.1f} %. "
            f"Networks above it: {_number(above, len(of_task))}; below: {_number(below, len(of_task))}."
        )
    return sentences


def _number(part: Sequence[ComparedNetwork], total: int) -> str:
    """Return how many networks are in a part, and for how many this is significant: "2 of 5 (1 significantly)"."""
    significant = sum(network.significant for network in part)
    return f"{len(part)} of {total}" + (f" ({significant} significantly)" if part else "")
