"""The page `report.html`: everything that a report says, in one file."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fastser.experiment.tables import TABLES, Table
from fastser.report.aggregation import Scores
from fastser.report.cautions import caution_sentences, setting_lines, title_qualifiers
from fastser.report.cells import BELOW, model_title, plain_title, signed_range
from fastser.report.claims import Judgement
from fastser.report.context import ReportContext
from fastser.report.durations import durations
from fastser.report.html.confusions import confusion_groups
from fastser.report.html.figures import Picture, curve_pictures, speaker_pictures, table_pictures
from fastser.report.html.table_view import TableView, table_view
from fastser.report.published import published
from fastser.report.tables import Row
from fastser.report.templates import template
from fastser.report.yardstick_difference import compared_with_yardstick, yardstick_sentences
from fastser.runtime.counted import counted
from fastser.runtime.duration import format_duration
from fastser.runtime.files import atomic_write


class HtmlSection(NamedTuple):
    """A table of the page: heading, table or None, charts, notes, and whether it is closed at first."""

    name: str
    heading: str
    table: TableView | None
    pictures: Sequence[Picture]
    notes: Sequence[str]
    supplement: bool


def write_html(
    path: Path, context: ReportContext, tables: dict[str, list[Row]], judgements: Sequence[Judgement]
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        context: Content of the report.
        tables: Rows of its tables.
        judgements: The paper's claims with verdicts.
    """
    networks = compared_with_yardstick(context)
    judged = [judgement for judgement in judgements if judgement.verdict != "not planned"]
    groups, left_out = confusion_groups(tables, context)
    spent = durations(context.runs)
    page = template("html/report.html.jinja").render(
        context=context,
        published=published(),
        qualifiers=title_qualifiers(context),
        cautions=caution_sentences(context),
        claims=judged,
        verdicts={name: sum(j.verdict == name for j in judged) for name in ("holds", "does not hold", "not decided")},
        networks=networks,
        yardstick_sentences=yardstick_sentences(networks, context),
        sections=_sections(tables, context),
        clips=[(clip, b64encode(clip.flac).decode("ascii")) for clip in context.listening.clips],
        listening=context.listening,
        speakers=speaker_pictures(context),
        confusions=groups,
        left_out=left_out,
        curves=curve_pictures(context),
        durations=spent,
        total=format_duration(sum(line.seconds for line in spent)),
        format_duration=format_duration,
        settings=setting_lines(context),
        plain_title=plain_title,
        signed_range=signed_range,
        model_title=model_title,
        below=BELOW,
        counted=counted,
    )
    with atomic_write(path) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")


def _sections(tables: dict[str, list[Row]], context: ReportContext) -> list[HtmlSection]:
    """Return the sections of all tables that were requested, supplements behind their tables."""
    scores = Scores(context.expected, context.runs)
    return [
        _section(table, tables.get(table.name, []), scores, context)
        for table in TABLES.values()
        if (table.part_of or table.name) in context.parts
        and (table.part_of is None or any(row.measured for row in tables.get(table.name, [])))
    ]


def _section(table: Table, rows: list[Row], scores: Scores, context: ReportContext) -> HtmlSection:
    measured = any(row.measured for row in rows)
    reason = context.missing.get(table.name, "")
    notes = [reason[0].upper() + reason[1:]] if reason else []
    if not measured and not notes:
        notes = ["None of its runs is finished."]
    if measured and table.in_paper and any(row.paper_uar is None and not row.yardstick for row in rows):
        notes.append(f"Numbers of the paper that are not shown: {published().unknown}.")
    studies = {
        study.name: study.reference for study in published().study if any(row.model == study.name for row in rows)
    }
    if studies:
        notes.append(f"Quoted by the paper: {'; '.join(f'{name}, {where}' for name, where in studies.items())}.")
    pictures = table_pictures(table.name, rows, scores, context) if table.part_of is None or table.curve else []
    view = table_view(rows) if measured else None
    return HtmlSection(table.name, context.heading(table.name), view, pictures, notes, table.part_of is not None)
