"""The page `doctor.html`: errors and warnings first, what is in order folded away, pictures and tables in the file."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fastser.data.examination.finding import Finding
from fastser.report.doctor_page import SEVERITIES, Section, summary
from fastser.report.templates import template
from fastser.runtime.date import today
from fastser.runtime.files import atomic_write, printable


class Part(NamedTuple):
    """A section of the page: findings, the worst first, sentences about what is in order, and embedded pictures."""

    section: Section
    attention: Sequence[Finding]
    sound: Sequence[str]
    pictures: Sequence[tuple[str, str]]


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
    return Part(section, attention, sound, pictures)
