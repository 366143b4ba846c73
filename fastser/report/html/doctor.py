"""The page `doctor.html`: errors and warnings first, what is in order folded away, pictures and tables in the file."""

import re
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fastser.data.examination.finding import Finding
from fastser.report.doctor_page import SEVERITIES, Section, Table, summary
from fastser.report.templates import template
from fastser.runtime.date import today
from fastser.runtime.files import atomic_write, printable


class TableView(NamedTuple):
    """A table, and the columns that hold numbers only, which are aligned right."""

    table: Table
    numeric: frozenset[int]


class Part(NamedTuple):
    """A section of the page: findings, the worst first, what is in order, embedded pictures and tables."""

    section: Section
    attention: Sequence[Finding]
    sound: Sequence[str]
    pictures: Sequence[tuple[str, str]]
    tables: Sequence[TableView]


def write_doctor_html(path: Path, sections: Sequence[Section], command: str) -> None:
    """Write the page.

    Args:
        path: The HTML file. The pictures of the sections are in its folder.
        sections: Parts of the page.
        command: The command line as text.
    """
    urgent = [
        (number, section.title, finding)
        for number, section in enumerate(sections, 1)
        for finding in section.findings
        if finding.severity in ("error", "warning")
    ]
    page = template("html/doctor.html.jinja").render(
        summary=summary(sections),
        date=today(),
        command=printable(command),
        urgent=sorted(urgent, key=lambda line: SEVERITIES.index(line[2].severity)),
        parts=[_part(section, path.parent) for section in sections],
    )
    with atomic_write(path) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")


def _part(section: Section, folder: Path) -> Part:
    attention = [finding for finding in section.findings if finding.severity != "ok"]
    attention.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    sound = [finding.sentence for finding in section.findings if finding.severity == "ok"]
    pictures = [(b64encode((folder / name).read_bytes()).decode("ascii"), text) for name, text in section.pictures]
    tables = [TableView(table, _numeric(table)) for table in section.tables]
    return Part(section, attention, sound, pictures, tables)


def _numeric(table: Table) -> frozenset[int]:
    """Return the indices of the columns, without the first one, whose cells are numbers or empty."""
    columns = enumerate(zip(*table.rows, strict=True))
    return frozenset(index for index, cells in columns if index and all(map(_is_number, cells)))


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"-?\d*\.?\d*(?:e[-+]\d+)?", cell) is not None
