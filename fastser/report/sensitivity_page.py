"""The sensitivity report: sentences, a table for each question, a forest plot, and the CSV file."""

from collections.abc import Sequence
from pathlib import Path

from fastser.evaluation.statistics import SIGNIFICANCE
from fastser.experiment.questions import Question
from fastser.experiment.variants import Variant
from fastser.models import MODELS
from fastser.report.cautions import caution_sentences, title_qualifiers
from fastser.report.cells import signed_range
from fastser.report.context import ReportContext
from fastser.report.markdown import markdown_table
from fastser.report.page import changed_settings
from fastser.report.published import published
from fastser.report.sensitivity import Move, moves, runs_of
from fastser.report.sensitivity_csv import write_sensitivity_csv
from fastser.report.sensitivity_figure import draw_forest
from fastser.report.sensitivity_sentences import sentences
from fastser.report.templates import template
from fastser.runtime.counted import counted
from fastser.runtime.files import atomic_write


def write_sensitivity(out: Path, variants: Sequence[Variant], context: ReportContext) -> tuple[Path, list[str]]:
    """Write `sensitivity.csv`, `sensitivity.png` and `sensitivity.md`, each file completely or not at all.

    Args:
        out: Results folder, which exists.
        variants: The baseline and the answers, the baseline first.
        context: All runs of the variants, and the settings of the baseline.

    Returns:
        Path of `sensitivity.md`, and the sentences with which it begins.
    """
    found = moves(variants, context)
    write_sensitivity_csv(out / "sensitivity.csv", found, context)
    clean = [move for move in found if (move.task, move.condition.name) == ("source", "clean")]
    picture = out / "sensitivity.png"
    if clean:
        heading = f"Clean speech, {context.corpus('source')}{title_qualifiers(context)}"
        draw_forest(picture, clean, heading)
    else:
        picture.unlink(missing_ok=True)
    summary = sentences(found, context)
    page = template("sensitivity.md.jinja").render(
        context=context,
        citation=published().citation,
        qualifiers=title_qualifiers(context),
        cautions=caution_sentences(context),
        finished=len({run.id for variant in variants for run in runs_of(variant, context)}),
        planned=len({run_id for variant in variants for run_id in variant.runs}),
        sentences=summary,
        picture=picture.name if clean else "",
        sections=_sections(variants, found, context),
        unfinished=_unfinished(variants, context),
        settings=changed_settings(context),
    )
    path = out / "sensitivity.md"
    with atomic_write(path) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path, summary


def _sections(variants: Sequence[Variant], found: Sequence[Move], context: ReportContext) -> list[tuple[str, str, str]]:
    """Return heading, introduction and table of each question."""
    questions = dict.fromkeys(variant.question for variant in variants if variant.question is not None)
    return [
        (
            question.title.capitalize() if question.number is None else f"Open {question.number}: {question.title}",
            f"The baseline's answer: {question.answer_of(context.settings)}."
            + (f" Augmentation: {question.augmentation}." if question.augmentation != "none" else ""),
            _table([move for move in found if move.question == question], _titles(question, variants)),
        )
        for question in questions
    ]


def _titles(question: Question, variants: Sequence[Variant]) -> list[str]:
    return [variant.answer.title for variant in variants if variant.question == question and variant.answer]


def _table(found: Sequence[Move], answers: Sequence[str]) -> str:
    """Return the table of one question: a line for each answer and model, a column for each condition."""
    titles = {move.condition.name: move.condition.title or move.condition.name for move in found}
    if not titles:
        return ""
    lines = [_baseline_line(found, model, [*titles]) for model in dict.fromkeys(move.model for move in found)]
    for answer in answers:
        of_answer = [move for move in found if move.answer == answer]
        if not of_answer:
            lines.append([answer, "", *["not run"] * len(titles), ""])
        for model in dict.fromkeys(move.model for move in of_answer):
            cells = {move.condition.name: move for move in of_answer if move.model == model}
            texts = [_cell_text(cells[name]) if name in cells else "not run" for name in titles]
            sizes = dict.fromkeys(f"{move.repeats} x {move.folds}" for move in cells.values())
            lines.append([answer, MODELS[model].title, *texts, ", ".join(sizes)])
    return markdown_table(["answer", "model", *titles.values(), "n"], lines, left=2)


def _baseline_line(found: Sequence[Move], model: str, conditions: Sequence[str]) -> list[str]:
    """Return the UAR of the baseline, over as many repeats as an answer can be compared on."""
    by_repeats = sorted((move for move in found if move.model == model), key=lambda move: move.repeats)
    uars = {move.condition.name: f"UAR {100 * move.baseline:.1f}" for move in by_repeats}
    return ["baseline", MODELS[model].title, *(uars.get(name, "not run") for name in conditions), ""]


def _cell_text(move: Move) -> str:
    """Return difference and interval, with a significant difference in bold."""
    ends = move.difference
    text = f"{100 * move.value:+.1f}"
    if ends and move.p_holm <= SIGNIFICANCE:
        text = f"**{text}**"
    return f"{text} ({signed_range(ends)})" if ends else text


def _unfinished(variants: Sequence[Variant], context: ReportContext) -> list[str]:
    """Return a line for each variant with runs that are not finished."""
    failed = {run_id.key for run_id, _ in context.failures}
    lines = []
    for variant in variants:
        done = len(runs_of(variant, context))
        if done < len(variant.runs):
            failures = sum(run_id.key in failed for run_id in variant.runs)
            planned = counted(len(variant.runs), "run")
            state = f"{done} of {planned} finished" if done else f"not run ({planned})"
            lines.append(f"{variant.label}: {state}{f', {failures} failed' if failures else ''}")
    return lines
