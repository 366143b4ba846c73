"""`runs.csv` and `tables.tex`."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import context, of_models, read_csv

from fastser.report.latex import escaped, write_latex
from fastser.report.runs_csv import RUN_COLUMNS, write_runs
from fastser.report.tables import build_tables


@pytest.mark.fast
def test_runs_csv_has_a_line_for_each_run_and_condition(tmp_path: Path) -> None:
    runs = context(1).runs
    recorded = {"training_seconds": 60.0, "test_seconds": 1.25, "kept_epoch": 7}
    write_runs(tmp_path / "runs.csv", [replace(runs[0], metadata=recorded), *runs[1:]])
    lines = read_csv(tmp_path / "runs.csv")
    assert tuple(lines[0]) == RUN_COLUMNS
    assert len(lines) == sum(len(run.confusions) for run in runs)
    assert list(lines[0].values()) == (
        ["source", "EMO-DB", "cnn", "none", "f1", "1", "clean", "31.00", "31.00", "61.2", runs[0].id.key, "7"]
    )
    assert (lines[-1]["seconds"], lines[-1]["kept_epoch"]) == ("", "")


@pytest.mark.fast
def test_latex_has_a_table_environment_for_each_table(tmp_path: Path) -> None:
    whole = of_models(context(source_title="my_corpus & 5 %"), ["cnn", "proposed"])
    write_latex(tmp_path / "tables.tex", whole, build_tables(whole))
    text = (tmp_path / "tables.tex").read_text("utf-8")
    assert re.findall(r"\\label\{tab:(.*?)\}", text) == [
        "table1",
        "table2",
        "table2-scenes",
        "table3",
        "table3-eps",
        "table4",
        "figure2",
    ]
    for kind in ("table", "tabular"):
        assert text.count(rf"\begin{{{kind}}}") == text.count(rf"\end{{{kind}}}") == 7
    assert r"my\_corpus \& 5 \%" in text
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)[%#_]", code.replace("tab:", ""))
    for table in code.split(r"\begin{tabular}")[1:]:
        columns = len(re.match(r"\{(l+r+)\}", table).group(1))  # type: ignore[union-attr]
        body = table.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
        assert {line.count(" & ") + 1 for line in body.strip().splitlines()} == {columns}
    assert r"\textbf{62.5 $\pm$ 0.6}" in text


@pytest.mark.fast
def test_escapes_leave_nothing_to_latex() -> None:
    assert escaped(r"a\b{c}~^") == r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}"
    assert escaped("EMO-DB -> RAVDESS, 1 < 2") == r"EMO-DB $\rightarrow$ RAVDESS, 1 \textless{} 2"
