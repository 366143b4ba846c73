"""The page of conditions lists every family and every change with its source."""

from pathlib import Path

import pytest

from fastser.evaluation.changes import CHANGES
from fastser.evaluation.conditions import CONDITIONS
from fastser.evaluation.further_conditions import FURTHER
from fastser.report.markdown import markdown_table

pytestmark = pytest.mark.fast
PAGE = Path(__file__).parents[2] / "docs" / "conditions.md"
BEGIN, END = "<!-- changes -->\n", "<!-- end of changes -->"


def changes_table() -> str:
    """Return the table of changes, from the registry."""
    rows = [(f"`{c.name}`", c.title, c.source, "yes" if c.quick else "") for c in CHANGES.values()]
    return markdown_table(("condition", "change", "source", "quick"), rows, left=4)


def test_the_table_of_changes_is_that_of_the_registry() -> None:
    page = PAGE.read_text("utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == changes_table()


def test_every_family_is_listed_with_its_source() -> None:
    page = PAGE.read_text("utf-8")
    for name in [*CONDITIONS, *FURTHER]:
        assert f"`{name}`" in page or name == "cross-corpus"
    assert all(family.source in page for family in FURTHER.values())
