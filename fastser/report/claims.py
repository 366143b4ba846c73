"""The paper's claims held against our numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from scipy.special import stdtrit

from fastser.experiment.grid import AUGMENTATIONS, MODELS, Task
from fastser.report.aggregation import Grid, Summary
from fastser.report.context import ReportContext
from fastser.report.published import Claim, published

SIGNIFICANCE = 0.05
"""Two-sided level of a claim, shared evenly by its comparisons (Bonferroni)."""

Verdict = Literal["holds", "does not hold", "cannot be said"]


NOT_PLANNED = "not all that it compares is in this plan"
"""Why nothing can be said about a claim whose trainings were not asked for."""


@dataclass(frozen=True)
class Judgement:
    """A claim under one condition, the verdict, and the numbers or the reason behind it."""

    claim: str
    where: str
    source: str
    verdict: Verdict
    because: str


@dataclass(frozen=True)
class _Estimate:
    """A mean UAR with the variance of that mean and its degrees of freedom; a quoted number has none."""

    mean: float
    variance: float = 0.0
    freedom: float = math.inf


def judge(context: ReportContext) -> list[Judgement]:
    """Judge every claim on every task and condition it names.

    A claim is a set of comparisons "a < b". It holds if every difference is clear of chance in the claimed direction,
    it does not hold if any is clear of chance in the other one, by Welch's t-test over the repeats; otherwise, and
    wherever a training is missing or there is a single repeat, it cannot be said.
    """
    grid = Grid(context.expected, context.runs)
    return [
        Judgement(claim.text, f"{condition}, {corpus}", claim.source, *_judge(claim, context, grid, task, condition))
        for claim in published().claim
        for task in claim.tasks
        for condition in claim.conditions
        if (corpus := context.corpus(task))
    ]


def _judge(claim: Claim, context: ReportContext, grid: Grid, task: Task, condition: str) -> tuple[Verdict, str]:
    if claim.along == "study":
        return _judge_studies(claim, context, grid, task, condition)
    names = tuple(MODELS) if claim.along == "model" else AUGMENTATIONS
    cells = {
        (name, fixed): grid.summary(task, *((name, fixed) if claim.along == "model" else (fixed, name)), condition)
        for name in claim.rising or names
        for fixed in claim.at
    }
    if (reason := _unfinished(list(cells.values()))) is not None:
        return "cannot be said", reason
    estimates = {cell: _estimate(summary) for cell, summary in cells.items() if summary}
    return _verdict(
        [(estimates[low, fixed], estimates[high, fixed]) for low, high in _pairs(claim, names) for fixed in claim.at]
    )


def _judge_studies(claim: Claim, context: ReportContext, grid: Grid, task: Task, condition: str) -> tuple[Verdict, str]:
    numbers = [study.uar for study in published().study if (study.task, study.condition) == (task, condition)]
    known = [number for number in numbers if number is not None]
    if known != numbers:
        return "cannot be said", f"the studies' numbers are {published().unknown}"
    if not context.on_paper_corpora(task) or context.synthetic:
        return "cannot be said", "the studies' numbers are about other speech"
    model, augmentation = claim.at
    ours = grid.summary(task, model, augmentation, condition)
    if (reason := _unfinished([ours])) is not None or ours is None:
        return "cannot be said", reason or ""
    return _verdict([(_Estimate(number / 100), _estimate(ours)) for number in known])


def _pairs(claim: Claim, names: Sequence[str]) -> list[tuple[str, str]]:
    """The comparisons of a claim as (lower, higher)."""
    if claim.rising:
        return list(pairwise(claim.rising))
    if claim.best:
        return [(name, claim.best) for name in names if name != claim.best]
    return [(str(claim.worst), name) for name in names if name != claim.worst]


def _unfinished(summaries: Sequence[Summary | None]) -> str | None:
    """Why these cells cannot be compared, None if they can."""
    planned = [summary for summary in summaries if summary]
    if len(planned) < len(summaries):
        return NOT_PLANNED
    if not all(summary.complete for summary in planned):
        return f"{sum(s.finished for s in planned)} of {sum(s.planned for s in planned)} trainings are finished"
    return None


def _estimate(summary: Summary) -> _Estimate:
    repeats = len(summary.by_repeat)
    variance = math.nan if summary.std is None else summary.std**2 / repeats
    return _Estimate(summary.mean, variance, repeats - 1)


def _verdict(comparisons: Sequence[tuple[_Estimate, _Estimate]]) -> tuple[Verdict, str]:
    differences = [100 * (high.mean - low.mean) for low, high in comparisons]
    as_claimed = sum(difference > 0 for difference in differences)
    because = f"{as_claimed} of {len(differences)} differences as claimed, the smallest {min(differences):+.1f}"
    if any(math.isnan(estimate.variance) for pair in comparisons for estimate in pair):
        return "cannot be said", f"{because}; one repeat cannot tell them from chance"
    signs = [_clear_sign(low, high, SIGNIFICANCE / len(comparisons)) for low, high in comparisons]
    because += f"; clear of chance: {signs.count(1)} for, {signs.count(-1)} against"
    if -1 in signs:
        return "does not hold", because
    return ("holds" if all(sign == 1 for sign in signs) else "cannot be said"), because


def _clear_sign(low: _Estimate, high: _Estimate, level: float) -> int:
    """+1 or -1 if `high` is above or below `low` by Welch's two-sided t-test at `level`, else 0."""
    difference = high.mean - low.mean
    variance = low.variance + high.variance
    if variance > 0:
        freedom = variance**2 / sum(e.variance**2 / e.freedom for e in (low, high))
        if abs(difference) <= stdtrit(freedom, 1 - level / 2) * math.sqrt(variance):
            return 0
    return (difference > 0) - (difference < 0)
