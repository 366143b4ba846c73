"""The paper's claims, tested on our numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from fastser.evaluation.statistics import SIGNIFICANCE, holm
from fastser.report.aggregation import Score, Scores
from fastser.report.cells import plain_title
from fastser.report.context import ReportContext
from fastser.report.evidence import difference_of_cells, interval_of_cell
from fastser.report.published import Claim, published
from fastser.runtime.counted import counted

Verdict = Literal["holds", "does not hold", "not decided", "not planned"]

MOST_NAMED = 4
"""Largest number of significant differences for and against a claim that a line names."""


@dataclass(frozen=True)
class Judgement:
    """A claim under one condition, its verdict, and the numbers or the reason behind it."""

    claim: str
    where: str
    source: str
    verdict: Verdict
    because: str


@dataclass(frozen=True)
class _Comparison:
    """Difference of UAR in the claimed direction: its p-value, and the smallest difference that would be seen."""

    value: float
    p: float
    smallest_detectable: float


def judge(context: ReportContext) -> list[Judgement]:
    """Judge every claim on every task and condition it names.

    A claim is a set of comparisons "a < b". It holds if every difference is significant in the claimed direction, by
    the exchange test over speakers (`fastser.evaluation.statistics`), with Holm's correction for the number of
    comparisons, and if its interval for new speakers and new trainings does not contain zero. It does not hold if a
    difference is significant in the other direction. Otherwise, and if a run is missing, it is not decided.
    """
    scores = Scores(context.expected, context.runs)
    return [
        Judgement(claim.text, f"{condition}, {corpus}", claim.source, *_judge(claim, context, scores, task, condition))
        for claim in published().claim
        for task in claim.tasks
        for condition in claim.conditions
        if (corpus := context.corpus(task))
    ]


def _judge(claim: Claim, context: ReportContext, scores: Scores, task: str, condition: str) -> tuple[Verdict, str]:
    if claim.along == "study":
        return _judge_studies(claim, context, scores, task, condition)
    names = published().models if claim.along == "model" else published().augmentations
    cells = {
        (name, fixed): scores.score(task, *((name, fixed) if claim.along == "model" else (fixed, name)), condition)
        for name in claim.rising or names
        for fixed in claim.at
    }
    if (verdict := _unfinished(list(cells.values()), context, condition)) is not None:
        return verdict
    pairs = [((low, fixed), (high, fixed)) for low, high in _pairs(claim, names) for fixed in claim.at]
    found = [_compare(cells[low], cells[high], len(pairs)) for low, high in pairs]
    comparisons = [comparison for comparison in found if comparison is not None]
    if len(comparisons) < len(found):
        return "not decided", "its models were not tested on the same utterances"
    return _verdict(comparisons, [(_title(claim, low), _title(claim, high)) for low, high in pairs])


def _title(claim: Claim, cell: tuple[str, str]) -> str:
    """Return the name of what varies in a claim, with what is fixed if the claim fixes it at several values."""
    varies, fixed = plain_title(cell[0]), plain_title(cell[1])
    return f"{varies} with {fixed}" if len(claim.at) > 1 else varies


def _judge_studies(
    claim: Claim, context: ReportContext, scores: Scores, task: str, condition: str
) -> tuple[Verdict, str]:
    model, augmentation = claim.at
    ours = scores.score(task, model, augmentation, condition)
    if ours is None:
        return "not planned", "not everything that it compares is in this plan"
    studies = [study for study in published().study if (study.task, study.condition) == (task, condition)]
    numbers = [study.uar for study in studies]
    known = [number for number in numbers if number is not None]
    if known != numbers:
        return "not decided", f"the studies' numbers are {published().unknown}"
    if not context.on_paper_corpora(task) or context.synthetic:
        return "not decided", "the studies' numbers are about other speech"
    if (verdict := _unfinished([ours], context, condition)) is not None:
        return verdict
    comparisons = [_compare_with_number(ours, number / 100, len(known)) for number in known]
    return _verdict(comparisons, [(study.name, plain_title(model)) for study in studies])


def _pairs(claim: Claim, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the comparisons of a claim as pairs (lower, higher)."""
    if claim.rising:
        return list(pairwise(claim.rising))
    if claim.best:
        return [(name, claim.best) for name in names if name != claim.best]
    return [(str(claim.worst), name) for name in names if name != claim.worst]


def _unfinished(scores: Sequence[Score | None], context: ReportContext, condition: str) -> tuple[Verdict, str] | None:
    """Return a verdict and the reason why these cells cannot be compared, or None if they can."""
    planned = [score for score in scores if score]
    if len(planned) < len(scores):
        return "not planned", "not everything that it compares is in this plan"
    if context.runs and not any(condition in run.confusions for run in context.runs):
        return "not decided", f"no run was tested under {condition}"
    if not all(score.complete for score in planned):
        done, total = sum(s.finished for s in planned), sum(s.planned for s in planned)
        return "not decided", f"finished: {done} of {counted(total, 'run')}"
    return None


def _compare(low: Score | None, high: Score | None, comparisons: int) -> _Comparison | None:
    """Compare two cells, or return None if their utterances are not the same."""
    if low is None or high is None or low.units is None or high.units is None:
        return None
    level = 1 - SIGNIFICANCE / comparisons
    found = difference_of_cells(low.units, high.units, (low.confusion, high.confusion), level)
    if found is None:
        return None
    with_zero = found.low <= 0 <= found.high
    return _Comparison(found.value, 1.0 if with_zero else found.p, found.smallest_detectable)


def _compare_with_number(ours: Score, number: float, comparisons: int) -> _Comparison:
    """Compare a cell with a number that a study gives without its uncertainty."""
    if ours.units is None or ours.units[0].shape[1] < 2:
        return _Comparison(ours.mean - number, 1.0, 1.0)
    found = interval_of_cell(ours.units, ours.confusion, 1 - SIGNIFICANCE / comparisons)
    outside = not found.low <= number <= found.high
    return _Comparison(ours.mean - number, 0.0 if outside else 1.0, max(found.high - ours.mean, ours.mean - found.low))


def _verdict(comparisons: Sequence[_Comparison], names: Sequence[tuple[str, str]]) -> tuple[Verdict, str]:
    """Return the verdict and the numbers behind it.

    Args:
        comparisons: Differences in the claimed direction.
        names: For each one the names of what the claim has lower and higher.
    """
    differences = [100 * comparison.value for comparison in comparisons]
    as_claimed = sum(difference > 0 for difference in differences)
    corrected = holm([comparison.p for comparison in comparisons])
    signs = [
        0 if p > SIGNIFICANCE else int(math.copysign(1, difference))
        for p, difference in zip(corrected, differences, strict=True)
    ]
    because = (
        f"{as_claimed} of {counted(len(differences), 'difference')} as claimed, the smallest {min(differences):+.1f}; "
        f"significant: {signs.count(1)} for, {signs.count(-1)} against"
    )
    against = [f"{high} < {low}" for (low, high), sign in zip(names, signs, strict=True) if sign < 0]
    supporting = [f"{low} < {high}" for (low, high), sign in zip(names, signs, strict=True) if sign > 0]
    if against or 0 < len(supporting) < len(signs):
        named = [("for", supporting), ("against", against)]
        because += f" ({'; '.join(f'{kind}: {_listed(orders)}' for kind, orders in named if orders)})"
    if -1 in signs:
        return "does not hold", because
    if all(sign == 1 for sign in signs):
        return "holds", because
    unseen = 100 * max(comparison.smallest_detectable for comparison in comparisons)
    return "not decided", f"{because}; differences under {counted(round(unseen), 'point')} could not be seen"


def _listed(orders: Sequence[str]) -> str:
    """Return the first orders as text, and how many more there are."""
    more = len(orders) - MOST_NAMED
    return ", ".join(orders[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
