"""The report: every table in Markdown, and the files beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fastser.experiment.tables import TABLES, Table
from fastser.report.aggregation import Scores
from fastser.report.cautions import caution_sentences, setting_lines, title_qualifiers
from fastser.report.cells import BELOW
from fastser.report.claims import Judgement, judge
from fastser.report.context import ReportContext
from fastser.report.figures import draw_bars
from fastser.report.html import write_html
from fastser.report.latex import write_latex
from fastser.report.markdown import (
    details_table,
    markdown_table,
    paper_beside_ours,
    recall_table,
    side_by_side,
)
from fastser.report.published import published
from fastser.report.runs_csv import write_runs
from fastser.report.tables import Row, build_tables, on_one_axis, write_csv, write_metrics
from fastser.report.templates import template
from fastser.runtime.counted import counted
from fastser.runtime.files import atomic_write
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


class Supplement(NamedTuple):
    """A table that the paper does not have.

    Attributes:
        name: Name of the table.
        heading: Heading.
        table: The table in Markdown.
        details: Further measures in Markdown, or an empty text if the table shows some of its levels only.
    """

    name: str
    heading: str
    table: str
    details: str


def write_report(out: Path, context: ReportContext) -> Path:
    """Write the CSV files of the requested tables, their charts and the pages, each file completely or not at all.

    The pages are `report.html`, which holds everything, and `report.md`. `tables.tex` has the tables for a paper,
    `runs.csv` a line for each run and condition.

    Files of tables that were not requested stay as earlier reports wrote them. A chart that can no longer be drawn is
    removed.

    Args:
        out: Results folder, which exists.
        context: Content of the report.

    Returns:
        Path of `report.md`.
    """
    order = {run_id.key: place for place, run_id in enumerate(context.expected)}
    context = replace(context, runs=sorted(context.runs, key=lambda run: order[run.id.key]))
    tables, judgements = build_tables(context), judge(context)
    for name, rows in tables.items():
        write_csv(out / f"{name}.csv", rows)
    for table in TABLES.values():
        if table.part_of in tables and table.name not in tables:
            (out / f"{table.name}.csv").unlink(missing_ok=True)
    write_metrics(out / "metrics.csv", tables)
    write_runs(out / "runs.csv", context.runs)
    write_latex(out / "tables.tex", context, tables)
    write_html(out / "report.html", context, tables, judgements)
    charts = [
        name
        for name, rows in tables.items()
        if TABLES[name].bars and any(row.measured and not row.yardstick for row in rows)
    ]
    for name in tables.keys() - set(charts):
        (out / f"{name}.png").unlink(missing_ok=True)
    for name in charts:
        draw_bars(out / f"{name}.png", tables[name], context.heading(name), context.chance)
    page = template("report.md.jinja").render(
        context=context,
        published=published(),
        qualifiers=title_qualifiers(context),
        cautions=caution_sentences(context),
        sections=[
            _section(table, tables.get(table.name, []), context, f"{table.name}.png" if table.name in charts else "")
            for table in TABLES.values()
            if table.part_of is None
        ],
        supplements=list(_supplements(tables, context)),
        recalls=_recalls(context),
        claims=_claims(judgements),
        settings=changed_settings(context),
        yardsticks=sorted({run_id.point.model for run_id in context.expected} & YARDSTICKS.keys()),
        below=BELOW,
        counted=counted,
    )
    with atomic_write(out / "report.md") as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return out / "report.md"


def _supplements(tables: Mapping[str, Sequence[Row]], context: ReportContext) -> Iterator[Supplement]:
    """Yield each supplement that has a finished run. One with all levels side by side has further measures too."""
    for table in (table for table in TABLES.values() if table.part_of):
        if rows := [row for row in tables.get(table.name, []) if row.measured]:
            details = details_table(rows) if on_one_axis(rows) else ""
            yield Supplement(table.name, context.heading(table.name), side_by_side(rows), details)


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


def _claims(judgements: Sequence[Judgement]) -> str:
    """Return the claims whose comparisons are in the plan, in Markdown; empty if there is none."""
    judged = [judgement for judgement in judgements if judgement.verdict != "not planned"]
    if not judged:
        return ""
    lines = [(j.claim, j.source, j.where, f"**{j.verdict}**", j.because) for j in judged]
    return markdown_table(("the paper's claim", "source", "where", "verdict", "our numbers"), lines, left=5)


def changed_settings(context: ReportContext) -> str:
    """Return the settings that differ from the paper scale, in Markdown; empty if there is none."""
    lines = setting_lines(context)
    return markdown_table(("setting", "here", "paper scale", "source of the latter"), lines, left=4) if lines else ""
