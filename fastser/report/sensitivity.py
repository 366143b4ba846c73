"""Differences between answers to open questions: UAR of each answer minus UAR of the baseline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fastser.evaluation.condition import Condition
from fastser.evaluation.statistics import Difference, holm
from fastser.experiment.grid import GridPoint
from fastser.experiment.questions import Question
from fastser.experiment.stored_runs import Run
from fastser.experiment.variants import Variant
from fastser.report.aggregation import Scores, difference_of_scores
from fastser.report.context import ReportContext


@dataclass(frozen=True)
class Move:
    """Difference between an answer and the baseline for one model under one condition. Fractions.

    Attributes:
        question: The question.
        answer: Title of the answer.
        model: Name of the model.
        augmentation: Name of the augmentation.
        task: Name of the task.
        condition: The condition.
        baseline: Mean UAR of the baseline, over the folds and repeats that both have.
        answered: Mean UAR of the answer, over the same folds and repeats.
        difference: The answer minus the baseline, paired by fold and repeat. None for a single speaker, about whom
            nothing general can be said.
        baseline_std: Standard deviation of the baseline over these repeats, or None for a single repeat.
        folds: Number of folds.
        repeats: Number of repeats.
        p_holm: p-value, corrected for the number of tested moves of the question (Holm). 1 without a difference.
    """

    question: Question
    answer: str
    model: str
    augmentation: str
    task: str
    condition: Condition
    baseline: float
    answered: float
    difference: Difference | None
    baseline_std: float | None
    folds: int
    repeats: int
    p_holm: float = 1.0

    @property
    def value(self) -> float:
        """UAR of the answer minus UAR of the baseline."""
        return self.answered - self.baseline


def runs_of(variant: Variant, context: ReportContext) -> list[Run]:
    """Return the finished runs of a variant."""
    keys = {run_id.key for run_id in variant.runs}
    return [run for run in context.runs if run.id.key in keys]


def moves(variants: Sequence[Variant], context: ReportContext) -> list[Move]:
    """Return the moves of all answers that have at least one repeat with all of its folds.

    Args:
        variants: The baseline and the answers, the baseline first.
        context: All runs of the variants, and the settings of the baseline.
    """
    baseline, *answers = variants
    before = runs_of(baseline, context)
    of_question: dict[Question, list[Move]] = {}
    for variant in answers:
        assert variant.question is not None
        of_question.setdefault(variant.question, []).extend(_moves_of(variant, before, baseline, context))
    return [move for found in of_question.values() for move in _corrected(found)]


def _moves_of(variant: Variant, before: Sequence[Run], baseline: Variant, context: ReportContext) -> Iterator[Move]:
    assert variant.question is not None
    assert variant.answer is not None
    question, augmentation = variant.question, variant.question.augmentation
    after = runs_of(variant, context)
    cells = dict.fromkeys((run_id.point.task, run_id.point.model) for run_id in variant.runs)
    for task, model in cells:
        of_cell = task, model, augmentation
        folds = {run_id.point.fold for run_id in variant.runs if _cell(run_id.point) == of_cell}
        repeats = _whole_repeats(before, of_cell, folds) & _whole_repeats(after, of_cell, folds)
        if not repeats:
            continue
        first, second = (
            Scores(part.runs, [run for run in runs if run.id.point.repeat in repeats])
            for part, runs in ((baseline, before), (variant, after))
        )
        for condition in question.shown(task, context.settings, with_noise=context.noise_title is not None):
            low, high = first.score(*of_cell, condition.name), second.score(*of_cell, condition.name)
            assert low is not None
            assert high is not None
            yield Move(
                question,
                variant.answer.title,
                model,
                augmentation,
                task,
                condition,
                low.mean,
                high.mean,
                difference_of_scores(low, high),
                low.std,
                len(folds),
                len(repeats),
            )


def _cell(point: GridPoint) -> tuple[str, str, str]:
    return point.task, point.model, point.augmentation


def _whole_repeats(runs: Sequence[Run], cell: tuple[str, str, str], folds: set[str]) -> set[int]:
    """Return the repeats of a cell that have all folds."""
    by_repeat: dict[int, set[str]] = {}
    for run in runs:
        if _cell(run.id.point) == cell:
            by_repeat.setdefault(run.id.point.repeat, set()).add(run.id.point.fold)
    return {repeat for repeat, found in by_repeat.items() if found == folds}


def _corrected(found: Sequence[Move]) -> list[Move]:
    """Return moves with p-values that are corrected for the number of tested moves."""
    corrected = holm([move.difference.p if move.difference else None for move in found])
    return [replace(move, p_holm=p) for move, p in zip(found, corrected, strict=True)]
