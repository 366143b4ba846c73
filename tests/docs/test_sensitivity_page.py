"""The page of the sensitivity command lists the questions that there are."""

import re

import pytest
from snippets import ROOT

from fastser.experiment.questions import QUESTIONS
from fastser.report.sensitivity_csv import CSV_COLUMNS


@pytest.mark.fast
def test_the_page_has_every_question_with_its_number_and_every_column() -> None:
    text = (ROOT / "docs/sensitivity.md").read_text()
    listed = re.findall(r"^\| (\d+) \| `([\w-]+)` \|", text, re.M)
    assert listed == [(str(question.number), question.name) for question in QUESTIONS.values()]
    columns = re.search(r"CSV columns: `([^`]+)`", text)
    assert columns is not None
    assert columns[1].replace("\n", " ").split(", ") == [*CSV_COLUMNS]
