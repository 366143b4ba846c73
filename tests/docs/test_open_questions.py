"""The open questions that the command of the settings prints are those of the page."""

import re

import pytest
from snippets import ROOT

from fastser.cli.open_questions import OPEN_QUESTIONS
from fastser.settings import PAPER


@pytest.mark.fast
def test_the_questions_are_those_of_the_page_that_settings_answer() -> None:
    page = (ROOT / "docs/open-questions.md").read_text("utf-8")
    asked = {int(number): text for number, text in re.findall(r"^\| (\d+) \| ([^|]+) \|", page, re.MULTILINE)}
    assert len(asked) == 41
    answered = {int(number) for _, source in PAPER.describe().values() for number in re.findall(r"^open (\d+)", source)}
    assert {number: asked[number] for number in sorted(answered)} == OPEN_QUESTIONS
