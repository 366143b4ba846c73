"""The report: every table in Markdown, and the files beside it."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined

from fastser.experiment.tables import TABLES, Table
from fastser.report.aggregation import Scores
from fastser.report.claims import judge
from fastser.report.context import ReportContext
from fastser.report.figures import draw_bars
from fastser.report.markdown import (
    BELOW,
    details_table,
    markdown_table,
    paper_beside_ours,
    recall_table,
    side_by_side,
)
from fastser.report.published import published
from fastser.report.tables import Row, build_tables, write_csv, write_metrics
from fastser.runtime.files import atomic_write
from fastser.settings import PAPER, PAPER_CLASSES
from fastser.training.yardsticks import YARDSTICKS


class Section(NamedTuple):
    """One table of the report.

    Attributes:
        name: Name of the table.
        heading: Heading.
        picture: Name of the PNG file, or an empty text.
        table: The table in Markdown. Empty if nothing was run.
        details: Further measures in Markdown.
        notes: Notes below the table, or the reasons why there is none.
    """

    name: str
    heading: str
    picture: str
    table: str
    details: str
    notes: Sequence[str]


def write_report(out: Path, context: ReportContext) -> Path:
    """Write the CSV files of the requested tables, their charts and `report.md`, each file completely or not at all.

    Files of tables that were not requested stay as earlier reports wrote them. A chart that can no longer be drawn is
    removed.

    Args:
        out: Results folder, which exists.
        context: Content of the report.

    Returns:
        Path of `report.md`.
    """
    tables = build_tables(context)
    for name, rows in tables.items():
        write_csv(out / f"{name}.csv", rows)
    write_metrics(out / "metrics.csv", tables)
    charts = [
        name
        for name, rows in tables.items()
        if TABLES[name].bars and any(row.measured and not row.yardstick for row in rows)
    ]
    for name in tables.keys() - set(charts):
        (out / f"{name}.png").unlink(missing_ok=True)
    for name in charts:
        draw_bars(out / f"{name}.png", tables[name], context.heading(name), context.chance)
    template = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    ).from_string(resources.files(__package__).joinpath("report.md.jinja").read_text("utf-8"))
    page = template.render(
        context=context,
        published=published(),
        qualifiers=title_qualifiers(context),
        cautions=caution_sentences(context),
        sections=[
            _section(table, tables.get(table.name, []), context, f"{table.name}.png" if table.name in charts else "")
            for table in TABLES.values()
            if table.part_of is None
        ],
        supplements=[
            (table.name, context.heading(table.name), text)
            for table in TABLES.values()
            if table.part_of and (text := side_by_side(tables.get(table.name, [])))
        ],
        recalls=_recalls(context),
        claims=_claims(context),
        settings=changed_settings(context),
        yardsticks=sorted({run_id.point.model for run_id in context.expected} & YARDSTICKS.keys()),
        below=BELOW,
    )
    with atomic_write(out / "report.md") as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return out / "report.md"


_SCALE_CAUTIONS = {
    "quick": "The scale is quick: narrower networks, shorter segments, fewer folds, repeats and epochs than the "
    "paper's. Its numbers cannot be reached this way, and small differences between rows mean nothing.",
    "open": "The scale is open: narrower networks, shorter segments, fewer repeats and epochs than the paper's.",
}
"""Sentences about the scales that are not the paper's."""


def title_qualifiers(context: ReportContext) -> str:
    """Return the qualifiers of the title, such as "(synthetic speech, quick scale)"."""
    words = ["synthetic speech"] if context.synthetic & {"source", "target"} else []
    words += ["synthetic noise"] if context.synthetic == {"noise"} else []
    words += [f"{context.scale} scale"] if context.scale != "paper" else []
    return f" ({', '.join(words)})" if words else ""


def caution_sentences(context: ReportContext) -> list[str]:
    """Return sentences that say how far the numbers can be compared with the paper's."""
    cautions = []
    if context.synthetic & {"source", "target"}:
        cautions.append(
            "The speech is synthetic: a small synthesiser made it. These numbers show that the program works from end "
            "to end. They say nothing about emotion in human speech and cannot be compared with the paper's."
        )
    elif "noise" in context.synthetic:
        cautions.append("The noise is synthetic: generated scenes, not recordings.")
    if context.scale in _SCALE_CAUTIONS:
        cautions.append(_SCALE_CAUTIONS[context.scale])
    others = [
        f"{context.title(role)} in the place of {published().corpora[role]}"
        for role in ("source", "target")
        if context.title(role) and not context.on_paper_corpora(role)
    ]
    if tuple(context.classes) != PAPER_CLASSES:
        cautions.append(
            f"The classes are {', '.join(context.classes)}, not the paper's four. The paper's columns are given for "
            "orientation only."
        )
    elif others:
        cautions.append(
            f"The corpora are not the paper's ({', '.join(others)}). The paper's columns are given for orientation, "
            "and the difference from ours does not measure how well the paper was reproduced."
        )
    return cautions


def _section(table: Table, rows: Sequence[Row], context: ReportContext, picture: str) -> Section:
    """Return the section of one table."""
    measured = any(row.measured for row in rows)
    notes = [context.missing[table.name]] if table.name in context.missing else []
    if table.name not in context.parts:
        notes = ["not requested. Its files, if there are any, are of an earlier report."]
    elif not measured and not notes:
        notes = ["none of its runs is finished."]
    text = paper_beside_ours(rows, table.in_paper) if measured else ""
    if "n/a" in text:
        notes.append(f"n/a: {published().unknown}.")
    quoted = {study.name: study.reference for study in published().study if study.name in text}
    if quoted:
        notes.append(f"Quoted by the paper: {'; '.join(f'{name}, {where}' for name, where in quoted.items())}.")
    return Section(
        name=table.name,
        heading=context.heading(table.name),
        picture=picture,
        table=text,
        details=details_table(rows) if measured else "",
        notes=notes,
    )


def _recalls(context: ReportContext) -> list[tuple[str, str]]:
    """Return the summed confusion matrix of the proposed model on clean speech, for each corpus."""
    scores = Scores(context.expected, context.runs)
    found = [(context.corpus(task), scores.score(task, "proposed", "none", "clean")) for task in ("source", "target")]
    return [
        (corpus, recall_table(score, context.classes)) for corpus, score in found if corpus and score and score.finished
    ]


def _claims(context: ReportContext) -> str:
    """Return the claims whose comparisons are in the plan, in Markdown; empty if there is none."""
    judged = [judgement for judgement in judge(context) if judgement.verdict != "not planned"]
    if not judged:
        return ""
    lines = [(j.claim, j.source, j.where, f"**{j.verdict}**", j.because) for j in judged]
    return markdown_table(("the paper's claim", "source", "where", "verdict", "our numbers"), lines, left=5)


def changed_settings(context: ReportContext) -> str:
    """Return the settings that differ from the paper scale, in Markdown; empty if there is none.

    A setting that the paper scale leaves to the machine ("auto") is part of the environment instead.
    """
    papers = PAPER.describe()
    lines = [
        (name, str(value), str(papers[name][0]), source)
        for name, (value, source) in context.settings.describe().items()
        if papers[name][0] not in (value, "auto")
    ]
    return markdown_table(("setting", "here", "paper scale", "source of the latter"), lines, left=4) if lines else ""
