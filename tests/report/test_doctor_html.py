"""The doctor's page in HTML: what is urgent first, self-contained, everything escaped."""

import re
from pathlib import Path

import pytest
from parsed_page import Page

from fastser.data.examination.finding import Finding
from fastser.report.doctor_page import Section, Table
from fastser.report.html import doctor
from fastser.report.html.doctor import write_doctor_html

pytestmark = pytest.mark.fast

PNG = b"\x89PNG picture"


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(doctor, "today", lambda: "2026-01-31")  # the date in UTC, as in all other files
    (tmp_path / "levels.png").write_bytes(PNG)
    sections = [
        Section("This machine", (Finding("ok", "a device"),), (Table("Versions", ("", ""), (("torch", "2"),)),)),
        Section(
            "Corpus: <b>",
            (Finding("ok", "read"), Finding("note", "quiet"), Finding("warning", "clipped"), Finding("error", "a & b")),
            (Table("Speakers", ("speaker", "sad"), (("<i>ann</i>", "3"),)),),
            (("levels.png", "Levels"),),
        ),
    ]
    write_doctor_html(tmp_path / "doctor.html", sections, "python -m fastser.doctor --source 'emodb=a<b'")
    return (tmp_path / "doctor.html").read_text("utf-8")


def test_the_page_is_well_formed_and_needs_nothing_else(text: str) -> None:
    page = Page(text)
    assert page.unbalanced == []
    assert not page.all("script")
    assert not re.search(r"https?://|@import|url\(", text)
    assert [str(image["src"]).partition(",")[0] for image in page.all("img")] == ["data:image/png;base64"]
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {str(link["href"]).removeprefix("#") for link in page.all("a")} == {"part-1", "part-2"} <= ids


def test_what_is_urgent_comes_first_and_what_is_in_order_is_folded_away(text: str) -> None:
    words = " ".join("".join(Page(text).words).split())
    _, _, body = words.partition("What needs attention ")
    assert body.startswith("error Corpus: <b>: a & b warning Corpus: <b>: clipped This machine In order (1) a device")
    assert "Corpus: <b> error a & b warning clipped note quiet In order (1) read Levels Speakers" in body
    assert re.findall("<details( open)?>", text) == [" open", ""]


def test_the_date_is_that_of_other_reports(text: str) -> None:
    assert "2026-01-31" in text


def test_texts_are_escaped(text: str) -> None:
    assert "<b>" not in text
    assert '<th scope="row">&lt;i&gt;ann&lt;/i&gt;</th><td class="number">3</td>' in text
    assert "emodb=a&lt;b" in text


def test_columns_of_numbers_are_aligned_right(tmp_path: Path) -> None:
    header = ("fold", "test", "level", "SHA-256")
    rows = (("03", "39", "-18.3", "0a1f"), ("08", "42", "", "12"))
    write_doctor_html(tmp_path / "d.html", [Section("Folds", (), (Table("Folds", header, rows),))], "")
    text = (tmp_path / "d.html").read_text("utf-8")
    assert '<th scope="col">fold</th><th scope="col" class="number">test</th>' in text
    assert '<td class="number">42</td><td class="number"></td><td>12</td>' in text
