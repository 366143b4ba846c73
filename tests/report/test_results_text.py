"""The tables at the end of a run."""

import re
from dataclasses import replace

import pytest
from made_up import context, of_models

from fastser.cli.results_text import result_lines
from fastser.report.published import published

TITLES = ["Table 1", "Table 2", "Table 3", "Table 4", "Figure 2"]


@pytest.mark.fast
@pytest.mark.parametrize("width", [80, 100, 200])
def test_every_table_has_the_papers_number_and_ours_with_its_interval(width: int) -> None:
    lines = result_lines(context(), width)
    assert max(map(len, lines)) <= min(width, 100)
    text = "\n".join(lines)
    assert [title for title in TITLES if re.search(rf"^{title}: UAR", text, re.M)] == TITLES
    first = text[text.index("Table 1:") : text.index("Table 2:")]
    assert "paper IEMOCAP" in first
    assert "ours EMO-DB" in first
    (proposed,) = [line for line in first.splitlines() if line.startswith("Proposed") and "64.1 ± 1.3" in line]
    assert re.search(r"64\.1 ± 1\.3 +62\.5 \[\d+\.\d, \d+\.\d\]", proposed)
    assert "by noise scene" not in text
    assert "quoted" not in text
    assert text.count(f"paper: {published().unknown[:30]}") == 4  # all but Table 1
    second = text[text.index("Table 2:") : text.index("Table 3:")]
    for level in ("0 dB", "10 dB", "20 dB"):
        assert f"ours, {level}" in second


@pytest.mark.fast
def test_missing_runs_are_marked_and_tables_without_results_left_out() -> None:
    whole = of_models(context(), ["cnn"])
    runs = [run for run in whole.runs if run.id.point.task == "source"]
    lines = result_lines(replace(whole, runs=runs[:-1]), 100)
    text = "\n".join(lines)
    assert "Figure 2:" not in text
    assert "* some runs are missing." in " ".join(lines[-2:])
    assert re.search(r"^CNN .* \*$", text, re.M)
    assert result_lines(replace(whole, runs=[]), 100) == []


@pytest.mark.fast
def test_finished_plans_have_no_mark() -> None:
    assert not any("*" in line for line in result_lines(of_models(context(), ["cnn"]), 100))
