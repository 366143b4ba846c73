"""The parts of the doctor's page, and the page in Markdown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastser.data.examination.finding import Finding, Severity
from fastser.report.markdown import markdown_table
from fastser.runtime.counted import counted
from fastser.runtime.files import atomic_write, printable

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note", "ok")
"""All severities, the worst first."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page.

    Attributes:
        title: Heading.
        header: Names of the columns.
        rows: Cells.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        title: Heading.
        findings: Findings in the order of the examination.
        tables: Tables.
        pictures: Name of each PNG file beside the page, with its description.
    """

    title: str
    findings: tuple[Finding, ...]
    tables: tuple[Table, ...] = ()
    pictures: tuple[tuple[str, str], ...] = ()


def summary(sections: Sequence[Section]) -> str:
    """Return the numbers of findings, such as "1 error, 2 warnings, 3 notes, 20 ok"."""
    counts = Counter(finding.severity for section in sections for finding in section.findings)
    words = [f"{counts[name]} ok" if name == "ok" else counted(counts[name], name) for name in SEVERITIES]
    return ", ".join(words)


def write_page(path: Path, sections: Sequence[Section], command: str) -> None:
    """Write the page.

    Args:
        path: The Markdown file. Its folder exists.
        sections: Parts of the page.
        command: The command line as text.
    """
    lines = ["# Doctor's page", "", f"`{printable(command)}`", "", f"{summary(sections)}.", ""]
    for section in sections:
        lines += [f"## {_text(section.title)}", ""]
        lines += [f"- **{finding.severity}**: {_text(finding.sentence)}" for finding in section.findings]
        lines.append("")
        for name, description in section.pictures:
            lines += [f"![{_text(description)}]({name})", ""]
        for table in section.tables:
            rows = [[_text(cell) for cell in row] for row in table.rows]
            header = [_text(name) for name in table.header]
            lines += [f"### {_text(table.title)}", "", markdown_table(header, rows, left=len(header)), ""]
    with atomic_write(path) as part:
        part.write_text("\n".join(lines), encoding="utf-8")


def _text(text: str) -> str:
    """Return a text in which no sign of Markdown or HTML acts. `markdown_table` escapes its own."""
    return printable(text).replace("\\", "\\\\").replace("<", "&lt;").replace("*", "\\*")
