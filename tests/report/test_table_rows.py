"""CSV files: rows, numbers, and the paper's numbers beside ours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import (
    SCENES,
    SNRS,
    SOURCE_CONDITIONS,
    EditPaper,
    cells,
    context,
    of_models,
    read_csv,
    section,
    with_table_4,
)

from fastser.augmentation import AUGMENTATIONS
from fastser.evaluation.metrics import METRICS, Metric
from fastser.experiment.stored_runs import Run
from fastser.experiment.tasks import TASKS
from fastser.models import MODELS
from fastser.report import write_report
from fastser.report.published import published
from fastser.report.tables import CSV_COLUMNS, build_tables, write_metrics

IEMOCAP = {"cnn": (61.5, 2.3), "cnn-lstm": (62.1, 1.8), "densenet": (63.2, 1.7), "densenet-lstm": (63.5, 1.5)}
MSP_IMPROV = {"cnn": (52.6, 2.5), "cnn-lstm": (53.1, 2.3), "densenet": (54.5, 1.9), "densenet-lstm": (55.6, 1.6)}
PROPOSED = {"source": (64.1, 1.3), "target": (56.2, 1.5)}
STUDIES = {("source", "CNN-LSTM [37]"): 62.0, ("source", "CNN [36]"): 61.4, ("target", "CNN [36]"): 55.3}


@pytest.mark.fast
def test_the_numbers_of_the_papers_table_1() -> None:
    known = {(n.task, n.model): (n.uar, n.std) for n in published().number if n.condition == "clean"}
    for task, others in (("source", IEMOCAP), ("target", MSP_IMPROV)):
        assert {model: known[task, model] for model in MODELS} == {**others, "proposed": PROPOSED[task]}
    quoted = {(study.task, study.name): study.uar for study in published().study if study.table == "table1"}
    assert quoted == quoted | STUDIES
    assert {study.name for study in published().study} >= {"Latif et al. [36]", "Sahu et al. [41]"}


@pytest.mark.fast
def test_every_published_number_is_of_a_known_cell_and_names_its_table() -> None:
    numbers = published().number
    cells = [(n.task, n.model, n.augmentation, n.condition) for n in numbers]
    assert len(set(cells)) == len(cells)
    for number in numbers:
        assert number.task in TASKS
        assert number.model in MODELS
        assert number.augmentation in AUGMENTATIONS
        assert number.condition in {*SOURCE_CONDITIONS, "cross-corpus"}
        assert number.source.startswith(("Table ", "Figure "))
    assert all(study.task in TASKS for study in published().study)


def test_csv_files(written: Path) -> None:
    rows = {name: read_csv(written / f"{name}.csv") for name in ("table1", "table2", "table3", "table4", "figure2")}
    own = {name: [row for row in rows[name] if row["model"] in MODELS] for name in rows}
    for name, expected in {"table1": 10, "table2": 60, "table3": 40, "table4": 4, "figure2": 20}.items():
        assert len(own[name]) == expected
        assert tuple(rows[name][0]) == CSV_COLUMNS
    assert len(read_csv(written / "table2-scenes.csv")) == 20 * len(SCENES) * len(SNRS)
    assert rows["table1"][0] == {
        "model": "cnn",
        "augmentation": "none",
        "condition": "clean",
        "corpus": "EMO-DB",
        "uar_mean": "30.50",
        "uar_std": "0.58",
        "n_repeats": "4",
        "n_folds": "2",
        "paper_uar": "61.50",
        "paper_std": "2.30",
        "uar_low": "25.35",
        "uar_high": "35.65",
    }
    studies = [row["model"] for row in rows["table4"] if row not in own["table4"]]
    assert studies == [study.name for study in published().study if study.table == "table4"]


def test_numbers_that_the_paper_does_not_give_are_empty(tmp_path: Path, edit_paper: EditPaper) -> None:
    def only_table_1(text: str) -> str:
        lines = [line for line in text.splitlines() if "{ task =" not in line or '"Table 1"' in line]
        return with_table_4("\n".join([*lines, "# only Table 1"]))

    edit_paper(only_table_1)
    page = write_report(tmp_path, of_models(context(), ["cnn"])).read_text("utf-8")
    rows = [row for name in ("table2", "table3", "table4", "figure2") for row in read_csv(tmp_path / f"{name}.csv")]
    assert {row["paper_uar"] + row["paper_std"] for row in rows} == {""}
    assert published().unknown in section(page, "Table 2")
    assert published().unknown not in section(page, "Table 1")


NUMBER = """number = [
    { task = "source", model = "proposed", augmentation = "mixup", condition = "noise-10db", uar = 58.3, std = 1.2, \
source = "Table 2" },
    { task = "cross", model = "cnn", augmentation = "speed", condition = "cross-corpus", uar = 44.4, \
source = "Figure 2" },
"""


def test_an_added_number_is_in_the_csv_file_and_in_the_report(tmp_path: Path, edit_paper: EditPaper) -> None:
    edit_paper(lambda text: text.replace("number = [\n", NUMBER))
    page = write_report(tmp_path, of_models(context(), ["cnn", "proposed"])).read_text("utf-8")
    found = {}
    for name in ("table2", "figure2"):
        for row in read_csv(tmp_path / f"{name}.csv"):
            if row["paper_uar"]:
                key = (row["model"], row["augmentation"], row["condition"])
                found[key] = (row["paper_uar"], row["paper_std"], row["uar_mean"] != "")
    assert found["proposed", "mixup", "noise-10db"] == ("58.30", "1.20", True)
    assert found["cnn", "speed", "cross-corpus"] == ("44.40", "", True)
    for heading, line, column, expected in (
        ("Table 2", ("Proposed", "mixup"), "paper, 10 dB (IEMOCAP)", "58.3 ± 1.2"),
        ("Table 2", ("Proposed", "none"), "paper, 10 dB (IEMOCAP)", "n/a"),
        ("Figure 2", ("CNN", "speed"), "paper (IEMOCAP -> MSP-IMPROV)", "44.4"),
    ):
        lines = section(page, heading).partition("<details>")[0].splitlines()
        table = [cells(text) for text in lines if text.startswith("|")]
        (row,) = [row for row in table if tuple(row[:2]) == line]
        assert row[table[0].index(column)] == expected


def test_an_added_number_of_a_study_is_in_the_csv_file_and_in_the_report(tmp_path: Path, edit_paper: EditPaper) -> None:
    edit_paper(lambda text: with_table_4(text, 51.5))
    page = write_report(tmp_path, of_models(context(), ["proposed"])).read_text("utf-8")
    numbers = {row["model"]: row["paper_uar"] for row in read_csv(tmp_path / "table4.csv")}
    assert numbers["Latif et al. [36]"] == "51.50"
    assert numbers["Sahu et al. [41]"] == ""
    (line,) = [line for line in section(page, "Table 4").splitlines() if line.startswith("| Latif et al. [36]")]
    assert "51.5" in cells(line)


def test_quoted_studies_are_shown_only_beside_the_papers_corpora() -> None:
    def quoted(**changes: Any) -> dict[tuple[str, str], float | None]:
        rows = build_tables(context(**changes))["table1"]
        return {(row.task, row.model): row.paper_uar for row in rows if row.model not in MODELS}

    assert quoted() == {}
    iemocap = quoted(source_title="IEMOCAP")
    assert {key: iemocap[key] for key in STUDIES if key[0] == "source"} == {
        key: uar for key, uar in STUDIES.items() if key[0] == "source"
    }
    assert {task for task, _ in iemocap} == {"source"}
    assert quoted(source_title="IEMOCAP", target_title="MSP-IMPROV").items() >= STUDIES.items()
    assert quoted(source_title="IEMOCAP", classes=("angry", "sad")) == {}


def test_every_registered_metric_is_in_metrics_csv(written: Path, tmp_path: Path) -> None:
    rows = read_csv(written / "metrics.csv")
    first = {row["metric"]: row for row in rows if row["table"] == "table1" and row["model"] == "cnn"}
    assert list(first) == ["uar", "accuracy"]
    assert (first["accuracy"]["mean"], first["accuracy"]["n_repeats"]) == ("30.50", "4")
    whole = of_models(context(), ["cnn"])

    def with_f1(run: Run) -> Run:
        return replace(run, metrics={name: {**values, "f1": 0.25} for name, values in run.metrics.items()})

    with METRICS.including(Metric("f1", "F1", lambda _: 0.25)):
        tables = build_tables(replace(whole, runs=[with_f1(run) for run in whole.runs]))
        write_metrics(tmp_path / "metrics.csv", tables)
    own = [row for row in read_csv(tmp_path / "metrics.csv") if row["metric"] == "f1"]
    assert {(row["mean"], row["std"]) for row in own} == {("25.00", "0.00")}
    assert {row["table"] for row in own} == {"table1", "table2", "table2-scenes", "table3", "table3-eps", "figure2"}


PAGES = ("report.md", "report.html", "tables.tex")
"""Files that hold every requested table."""


def test_a_report_leaves_the_tables_of_earlier_reports_alone(tmp_path: Path) -> None:
    small = of_models(context(1), ["cnn"])
    (tmp_path / "notes.csv").write_text("mine")
    write_report(tmp_path, small)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_report(tmp_path, replace(small, parts=("table1",)))
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert before.keys() == after.keys() >= {"notes.csv", "table1.csv", "table3.csv", "figure2.png"}
    assert {name for name in before if before[name] != after[name]} == {"metrics.csv", *PAGES}


def test_a_chart_without_a_bar_is_removed(tmp_path: Path) -> None:
    small = of_models(context(1), ["cnn"])
    write_report(tmp_path, small)
    write_report(tmp_path, replace(small, runs=[]))
    assert not (tmp_path / "figure2.png").exists()


def test_the_order_of_runs_changes_no_byte(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    small = of_models(context(2), ["cnn", "proposed"])
    for out, runs in ((first, small.runs), (second, [*reversed(small.runs)])):
        out.mkdir()
        write_report(out, replace(small, runs=runs))
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
