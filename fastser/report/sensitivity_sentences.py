"""Sentences of a sensitivity report: how far open questions move the result, beside the differences of the paper."""

from collections.abc import Sequence

from fastser.evaluation.statistics import SIGNIFICANCE, holm
from fastser.models import MODELS
from fastser.report.cells import signed_range
from fastser.report.context import ReportContext
from fastser.report.published import published
from fastser.report.sensitivity import Move
from fastser.runtime.counted import counted

SUBJECT = "proposed"
"""Model whose result the sentences are about."""

PAPERS_TASKS = ("source", "target")
"""Tasks of Table 1."""


def sentences(found: Sequence[Move], context: ReportContext) -> list[str]:
    """Return the summary for clean speech. Empty if nothing can be compared.

    Args:
        found: All moves.
        context: Titles of the corpora and all runs.
    """
    clean = [move for move in found if (move.task, move.condition.name) == ("source", "clean")]
    open_questions = [move for move in clean if move.question.number is not None and move.augmentation == "none"]
    own = [move for move in clean if move.question.number is None]
    best = [_best_own_answer([move for move in own if move.model == m], m, context) for m in _models(own)]
    return [*_of_open_questions(open_questions, context), *best]


def _of_open_questions(clean: Sequence[Move], context: ReportContext) -> list[str]:
    """Return the sentences about open questions, without augmentation as in Table 1."""
    of_subject = [move for move in clean if move.model == SUBJECT]
    if not of_subject:
        return []
    title, corpus = MODELS[SUBJECT].title, context.corpus("source")
    values = [100 * uar for move in of_subject for uar in (move.baseline, move.answered)]
    largest = max(of_subject, key=lambda move: abs(move.value))
    most = max(of_subject, key=lambda move: move.repeats)
    lines = [
        f"On {corpus}, clean speech, {counted(len(of_subject), 'other answer')} to open questions of the paper "
        f"move{'s' if len(of_subject) == 1 else ''} the UAR of {title} between {min(values):.1f} and "
        f"{max(values):.1f} %. The baseline has {100 * most.baseline:.1f} %{_between_repeats(most)}.",
        f"The largest single move is {100 * largest.value:+.1f} points{interval_text(largest)}: "
        f"{largest.question.title}, {largest.answer} (open {largest.question.number}).{_chance(largest, of_subject)}",
    ]
    for other in (name for name in _models(clean) if name != SUBJECT):
        lines += _beside_the_paper(other, abs(100 * largest.value))
        lines += _order(of_subject, [move for move in clean if move.model == other], other)
    return lines


def _best_own_answer(moves: Sequence[Move], model: str, context: ReportContext) -> str:
    """Return the sentences about the answer of `--vary` that raises the UAR of a model most."""
    best = max(moves, key=lambda move: move.value)
    trained = "" if best.augmentation == "none" else f", trained with {best.augmentation}"
    start = "The own answer" if len(moves) == 1 else f"The best of {len(moves)} own answers"
    return (
        f"{start} for {MODELS[model].title} on {context.corpus('source')}, clean speech{trained}, is {best.answer}: "
        f"UAR {100 * best.answered:.1f} %, {100 * best.value:+.1f} points{interval_text(best)} from the baseline."
        f"{_chance(best, moves)} The baseline has {100 * best.baseline:.1f} %{_between_repeats(best)}."
    )


def _models(moves: Sequence[Move]) -> list[str]:
    return list(dict.fromkeys(move.model for move in moves))


def interval_text(move: Move) -> str:
    """Return the interval of a move in brackets, or an empty text for a single speaker."""
    ends = move.difference
    return f" (95 % interval {signed_range(ends)})" if ends else ""


def _between_repeats(move: Move) -> str:
    """Return how far another training of the baseline moves its UAR."""
    if move.baseline_std is None:
        return ". Each answer was trained once per fold, so no interval includes the chance of another training"
    return f", with a standard deviation of {100 * move.baseline_std:.1f} points between repeats of the same training"


def _chance(chosen: Move, among: Sequence[Move]) -> str:
    """Return a caution, unless the chosen move is significant with Holm's correction for the choice among all."""
    corrected = holm([move.difference.p if move.difference else None for move in among])
    p = {id(move): p for move, p in zip(among, corrected, strict=True)}
    return "" if p[id(chosen)] <= SIGNIFICANCE else " Chance alone may explain a move of this size here."


def published_differences(other: str) -> dict[str, float]:
    """Return UAR of Proposed minus UAR of another model on clean speech in Table 1, percent, by title of the corpus."""
    found = {}
    for task in PAPERS_TASKS:
        high, low = (published().find(task, model, "none", "clean") for model in (SUBJECT, other))
        if high and low:
            found[published().corpora[task]] = high.uar - low.uar
    return found


def _beside_the_paper(other: str, largest: float) -> list[str]:
    reported = [
        f"{'more' if largest > difference else 'less'} than the {difference:.1f} points on {corpus}"
        for corpus, difference in published_differences(other).items()
    ]
    if not reported:
        return []
    first, second = MODELS[SUBJECT].title, MODELS[other].title
    return [
        f"The paper's gaps move its result by up to {largest:.1f} points here: {', '.join(reported)}, by which "
        f"{first} is better than {second} in Table 1 of the paper."
    ]


def _order(of_subject: Sequence[Move], of_other: Sequence[Move], other: str) -> list[str]:
    """Return a sentence about answers that put the two models into another order than the baseline does."""
    repeats = max(move.repeats for move in [*of_subject, *of_other])  # other means are over other trainings
    of_subject = [move for move in of_subject if move.repeats == repeats]
    of_other = [move for move in of_other if move.repeats == repeats]
    if not of_subject or not of_other:
        return []
    answered = {(move.question, move.answer): move.answered for move in of_other}
    before = of_subject[0].baseline - of_other[0].baseline
    untouched = of_other[0].baseline
    compared = [
        move for move in of_subject if (move.question, move.answer) in answered or not move.question.acts_on(other)
    ]
    flips = [
        f"{move.question.title}, {move.answer}"
        for move in compared
        if (move.answered - answered.get((move.question, move.answer), untouched)) * before < 0
    ]
    if not compared:
        return []
    first, second = MODELS[SUBJECT].title, MODELS[other].title
    order = f"{first} {'>' if before > 0 else '<' if before < 0 else '='} {second}"
    start = f"The baseline has the order {order} ({100 * before:+.1f} points)."
    if not flips:
        return [f"{start} No other answer changes this order of the means."]
    return [f"{start} {len(flips)} of {counted(len(compared), 'other answer')} change it: {'; '.join(flips)}."]
