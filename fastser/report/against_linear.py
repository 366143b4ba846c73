"""Networks against the yardstick Linear: the first question of a reader."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastser.evaluation.statistics import Difference, holm
from fastser.experiment.tasks import TASKS
from fastser.report.aggregation import Score, Scores
from fastser.report.claims import SIGNIFICANCE
from fastser.report.context import ReportContext
from fastser.report.evidence import difference_of_cells
from fastser.training.yardsticks import LOWEST_USEFUL, YARDSTICK_AUGMENTATION, YARDSTICKS

UNDISTURBED = {"source": "clean", "target": "clean", "cross": "cross-corpus"}
"""Condition without noise and attack, by task."""


@dataclass(frozen=True)
class AgainstLinear:
    """A network and Linear on the same utterances, without noise and attack.

    Attributes:
        task: Name of the task.
        model: Name of the network.
        augmentation: Name of its augmentation.
        ours: Score of the network.
        linear: Score of Linear.
        difference: Network minus Linear, or None for a single speaker or an incomplete repeat.
        p_holm: p-value, corrected for all networks of the task.
    """

    task: str
    model: str
    augmentation: str
    ours: Score
    linear: Score
    difference: Difference | None
    p_holm: float = 1.0

    @property
    def significant(self) -> bool:
        """Whether the difference would be seen by chance in fewer than 5 of 100 such tasks."""
        ends = self.difference
        return ends is not None and self.p_holm <= SIGNIFICANCE and not ends.low <= 0 <= ends.high


def against_linear(context: ReportContext) -> list[AgainstLinear]:
    """Compare every finished network with Linear, task by task."""
    scores = Scores(context.expected, context.runs)
    networks = dict.fromkeys(
        (run_id.point.task, run_id.point.model, run_id.point.augmentation)
        for run_id in context.expected
        if run_id.point.model not in YARDSTICKS
    )
    found = []
    for task in TASKS:
        condition = UNDISTURBED.get(task, "clean")
        linear = scores.score(task, LOWEST_USEFUL, YARDSTICK_AUGMENTATION, condition)
        if linear is None or not linear.repeats:
            continue
        of_task = []
        for cell in (cell for cell in networks if cell[0] == task):
            ours = scores.score(*cell, condition)
            if ours is not None and ours.repeats:
                of_task.append(AgainstLinear(*cell, ours, linear, _difference(linear, ours)))
        corrected = holm([line.difference.p if line.difference else 1.0 for line in of_task])
        found += [replace(line, p_holm=p) for line, p in zip(of_task, corrected, strict=True)]
    return found


def linear_sentences(lines: Sequence[AgainstLinear], context: ReportContext) -> list[str]:
    """Return one sentence for each task: the best network, and how many are above and below Linear."""
    sentences = []
    for task in dict.fromkeys(line.task for line in lines):
        of_task = [line for line in lines if line.task == task]
        above = [line for line in of_task if line.ours.mean > line.linear.mean]
        below = [line for line in of_task if line.ours.mean < line.linear.mean]
        clear = [sum(line.significant for line in part) for part in (above, below)]
        sentences.append(
            f"{context.corpus(task)}: Linear has a UAR of {100 * of_task[0].linear.mean:.1f} %. "
            f"{len(above)} of {len(of_task)} networks are above it ({clear[0]} significantly), "
            f"{len(below)} below ({clear[1]} significantly)."
        )
    return sentences


def _difference(linear: Score, ours: Score) -> Difference | None:
    """Return the difference, or None where Linear and the network did not test the same speakers and repeats."""
    if linear.units is None or ours.units is None or linear.units[0].shape[1] < 2:
        return None
    return difference_of_cells(linear.units, ours.units, (linear.confusion, ours.confusion))
