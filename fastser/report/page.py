"""The page: every table in Markdown, and the files that lie beside it."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined

from fastser.experiment.grid import TABLES, Task
from fastser.report.aggregation import Grid
from fastser.report.claims import NOT_PLANNED, judge
from fastser.report.context import ReportContext
from fastser.report.figures import draw_figure2
from fastser.report.markdown import details_table, markdown_table, paper_beside_ours, recall_table, scenes_table
from fastser.report.published import published
from fastser.report.tables import Row, build_tables, write_csv
from fastser.runtime.files import atomic_write


class Section(NamedTuple):
    """One table of the page: what stands above it, the table (empty if nothing was run), what stands below it."""

    name: str
    heading: str
    table: str
    details: str
    notes: Sequence[str]


def write_report(out: Path, context: ReportContext) -> Path:
    """Write the CSV of every table asked for, `figure2.png` if it has a bar, and `report.md`, each whole or not at all.

    Tables that an earlier report left in the folder go, so that all that lies there is of one plan. They can be made
    again: the trainings stay.

    Args:
        out: Folder, which exists.
        context: What to report.

    Returns:
        The path of `report.md`.
    """
    tables = build_tables(context)
    for name, rows in tables.items():
        write_csv(out / f"{name}.csv", rows)
    has_figure = any(row.measured for row in tables.get("figure2", ()))
    written = {f"{name}.csv" for name in tables} | ({"figure2.png"} if has_figure else set())
    for earlier in (*out.glob("table*.csv"), *out.glob("figure2.*")):
        if earlier.name not in written:
            earlier.unlink(missing_ok=True)
    if has_figure:
        draw_figure2(out / "figure2.png", tables["figure2"], f"Figure 2: {_headings(context)['figure2']}")
    template = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    ).from_string(resources.files(__package__).joinpath("report.md.jinja").read_text("utf-8"))
    page = template.render(
        context=context,
        published=published(),
        qualifiers=_qualifiers(context),
        cautions=_cautions(context),
        sections=[_section(name, tables.get(name, []), context) for name in TABLES],
        has_figure=has_figure,
        scenes=scenes_table(tables.get("table2-scenes", [])),
        recalls=_recalls(context),
        claims=_claims(context),
        settings=_settings(context),
    )
    with atomic_write(out / "report.md") as part:
        part.write_text(page, encoding="utf-8")
    return out / "report.md"


def _qualifiers(context: ReportContext) -> str:
    """What the title adds, such as "(synthetic speech, quick scale)"; nothing for real corpora at paper scale."""
    words = ["synthetic speech"] if context.synthetic & {"source", "target"} else []
    words += ["synthetic noise"] if context.synthetic == {"noise"} else []
    words += [f"{context.scale} scale"] if context.scale != "paper" else []
    return f" ({', '.join(words)})" if words else ""


def _cautions(context: ReportContext) -> list[str]:
    cautions = []
    if context.synthetic & {"source", "target"}:
        cautions.append(
            "The speech is synthetic: a small synthesiser made it. These numbers show that the program works from end "
            "to end; they say nothing about emotion in human speech and cannot be compared with the paper's."
        )
    elif "noise" in context.synthetic:
        cautions.append("The noise is synthetic: generated scenes, not recordings.")
    if context.scale != "paper":
        cautions.append(
            f"The scale is {context.scale}: narrower networks, shorter segments, fewer folds, repeats and epochs than "
            "the paper's. This is no attempt to reach its numbers, and small differences between rows mean nothing."
        )
    others = [
        f"{context.title(role)} in the place of {published().corpora[role]}"
        for role in ("source", "target")
        if context.title(role) and not context.on_paper_corpora(role)
    ]
    if others:
        cautions.append(
            f"The corpora are not the paper's ({', '.join(others)}): its columns stand here for orientation, and the "
            "difference from ours is no measure of how well it was reproduced."
        )
    return cautions


def _headings(context: ReportContext) -> dict[str, str]:
    scale = f", {context.scale} scale" if context.scale != "paper" else ""
    source, cross = context.corpus("source"), context.corpus("cross")
    trained = " and ".join(title for task in ("source", "target") if (title := context.title(task)))
    return {
        "table1": f"UAR (%) on clean speech, no augmentation, {trained}{scale}",
        "table2": f"UAR (%) on {source} with noise from {context.title('noise') or 'no noise corpus'}{scale}",
        "table3": f"UAR (%) on {source} under adversarial attack{scale}",
        "table4": f"UAR (%) across corpora beside published studies, {cross or 'no target corpus'}{scale}",
        "figure2": f"UAR (%) across corpora, {cross or 'no target corpus'}{scale}",
    }


def _section(name: str, rows: Sequence[Row], context: ReportContext) -> Section:
    measured = any(row.measured for row in rows)
    notes = [context.missing[name]] if name in context.missing else []
    if name not in context.parts:
        notes = ["it was not asked for."]
    elif not measured and not notes:
        notes = ["none of its trainings is finished."]
    table = paper_beside_ours(rows) if measured else ""
    if "n/a" in table:
        notes.append(f"n/a: {published().unknown}.")
    quoted = {study.name: study.reference for study in published().study if study.name in table}
    if quoted:
        notes.append(f"Quoted by the paper: {'; '.join(f'{name}, {where}' for name, where in quoted.items())}.")
    return Section(
        name=name,
        heading=f"{name[:-1].capitalize()} {name[-1]}: {_headings(context)[name]}",
        table=table,
        details=details_table(rows) if measured else "",
        notes=notes,
    )


def _recalls(context: ReportContext) -> list[tuple[str, str]]:
    """The summed confusion matrix of the proposed model on clean speech, for each corpus it was run on."""
    grid = Grid(context.expected, context.runs)
    tasks: tuple[Task, ...] = ("source", "target")
    found = [(context.corpus(task), grid.summary(task, "proposed", "none", "clean")) for task in tasks]
    return [(corpus, recall_table(summary)) for corpus, summary in found if corpus and summary and summary.finished]


def _claims(context: ReportContext) -> str:
    """The claims that compare what the plan holds; empty if there is none."""
    judged = [judgement for judgement in judge(context) if judgement.because != NOT_PLANNED]
    if not judged:
        return ""
    lines = [(j.claim, j.source, j.where, f"**{j.verdict}**", j.because) for j in judged]
    return markdown_table(("the paper's claim", "source", "where", "verdict", "our numbers"), lines, left=5)


def _settings(context: ReportContext) -> str:
    """The settings that are not those of the paper scale; empty if all are."""
    lines = [
        (name, str(here), str(paper), source)
        for name, (here, source, paper) in context.settings.items()
        if here != paper
    ]
    return markdown_table(("setting", "here", "paper scale", "source of the latter"), lines, left=4) if lines else ""
