"""The paper's claims, tested on our numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from scipy.special import stdtrit

from fastser.report.aggregation import Score, Scores
from fastser.report.context import ReportContext
from fastser.report.published import Claim, published

SIGNIFICANCE = 0.05
"""Two-sided significance level of a claim. Its comparisons share it evenly (Bonferroni)."""

Verdict = Literal["holds", "does not hold", "not decided", "not planned"]


@dataclass(frozen=True)
class Judgement:
    """A claim under one condition, its verdict, and the numbers or the reason behind it."""

    claim: str
    where: str
    source: str
    verdict: Verdict
    because: str


@dataclass(frozen=True)
class _Estimate:
    """A mean UAR, the variance of the mean, and the degrees of freedom. A quoted number has no variance."""

    mean: float
    variance: float = 0.0
    freedom: float = math.inf


def judge(context: ReportContext) -> list[Judgement]:
    """Judge every claim on every task and condition it names.

    A claim is a set of comparisons "a < b". It holds if every difference is significant in the claimed direction, by
    Welch's t-test over the repeats. It does not hold if a difference is significant in the other direction. Otherwise,
    and if a run is missing or there is a single repeat, it is not decided.
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
    estimates = {cell: _estimate(score) for cell, score in cells.items() if score}
    return _verdict(
        [(estimates[low, fixed], estimates[high, fixed]) for low, high in _pairs(claim, names) for fixed in claim.at]
    )


def _judge_studies(
    claim: Claim, context: ReportContext, scores: Scores, task: str, condition: str
) -> tuple[Verdict, str]:
    numbers = [study.uar for study in published().study if (study.task, study.condition) == (task, condition)]
    known = [number for number in numbers if number is not None]
    if known != numbers:
        return "not decided", f"the studies' numbers are {published().unknown}"
    if not context.on_paper_corpora(task) or context.synthetic:
        return "not decided", "the studies' numbers are about other speech"
    model, augmentation = claim.at
    ours = scores.score(task, model, augmentation, condition)
    if (verdict := _unfinished([ours], context, condition)) is not None or ours is None:
        return verdict or ("not planned", "")
    return _verdict([(_Estimate(number / 100), _estimate(ours)) for number in known])


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
        return "not decided", f"{done} of {total} runs are finished"
    return None


def _estimate(score: Score) -> _Estimate:
    repeats = len(score.by_repeat)
    variance = math.nan if score.std is None else score.std**2 / repeats
    return _Estimate(score.mean, variance, repeats - 1)


def _verdict(comparisons: Sequence[tuple[_Estimate, _Estimate]]) -> tuple[Verdict, str]:
    differences = [100 * (high.mean - low.mean) for low, high in comparisons]
    as_claimed = sum(difference > 0 for difference in differences)
    because = f"{as_claimed} of {len(differences)} differences as claimed, the smallest {min(differences):+.1f}"
    if any(math.isnan(estimate.variance) for pair in comparisons for estimate in pair):
        return "not decided", f"{because}; one repeat cannot show significance"
    signs = [_significant_sign(low, high, SIGNIFICANCE / len(comparisons)) for low, high in comparisons]
    because += f"; significant: {signs.count(1)} for, {signs.count(-1)} against"
    if -1 in signs:
        return "does not hold", because
    return ("holds" if all(sign == 1 for sign in signs) else "not decided"), because


def _significant_sign(low: _Estimate, high: _Estimate, level: float) -> int:
    """Return +1 or -1 if `high` is significantly above or below `low` (Welch's two-sided t-test), else 0."""
    difference = high.mean - low.mean
    variance = low.variance + high.variance
    if variance == 0 and math.isfinite(min(low.freedom, high.freedom)):
        return 0  # equal repeats, such as repeats of one seed, show no spread and prove nothing
    if variance > 0:
        freedom = variance**2 / sum(e.variance**2 / e.freedom for e in (low, high))
        if abs(difference) <= stdtrit(freedom, 1 - level / 2) * math.sqrt(variance):
            return 0
    return (difference > 0) - (difference < 0)
