"""The page and its figure: titles, cautions, unfinished plans, any number of classes."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import cells, confusion, context, finished, of_models, read_csv, section

from fastser.report import write_report
from fastser.report.figures import draw_bars
from fastser.report.markdown import markdown_table
from fastser.report.published import published
from fastser.report.tables import build_tables


def test_page_shows_paper_beside_ours(written: Path) -> None:
    page = (written / "report.md").read_text("utf-8")
    assert page.startswith("# fastser report (quick scale)\n")
    proposed = next(line for line in page.splitlines() if line.startswith("| Proposed"))
    assert cells(proposed) == [
        "Proposed",
        "64.1 ± 1.3",
        "**62.5 ± 0.6**",
        "4 x 2",
        "56.2 ± 1.5",
        "**62.5 ± 0.6**",
        "4 x 3",
    ]
    assert "paper (IEMOCAP)" in page
    assert "EMO-DB in the place of IEMOCAP" in page
    settings = [cells(line) for line in section(page, "How this was made").splitlines() if line.startswith("| ")]
    assert ["training.batch_size", "16", "64", "open 24: others' code of an earlier study"] in settings
    assert "training.learning_rate" not in page
    assert "training.precision" not in page
    assert "Sahu et al. [41], Sahu et al., Interspeech 2019" in page
    assert "Satt" not in section(page, "Table 1")
    assert "Failed runs" not in page
    assert (written / "figure2.png").read_bytes().startswith(b"\x89PNG")
    assert not list(written.glob(".*"))


def test_scenes_are_shown_at_the_hardest_level(written: Path) -> None:
    page = (written / "report.md").read_text("utf-8")
    supplement = section(page, "Supplement: Table 2 by noise scene")
    header = next(line for line in supplement.splitlines() if line.startswith("|"))
    assert cells(header) == ["model", "augmentation", "cafeteria, 0 dB", "kitchen, 0 dB"]


def test_every_eps_of_a_curve_is_shown(written: Path) -> None:
    supplement = section((written / "report.md").read_text("utf-8"), "Supplement: Table 3 by eps")
    header = next(line for line in supplement.splitlines() if line.startswith("|"))
    assert cells(header) == ["model", "augmentation", "eps 0.02", "eps 0.04", "eps 0.08"]
    assert "The hardest level" not in supplement
    assert "minus Linear (95 % interval)" in supplement


def test_a_supplement_that_is_not_made_any_more_leaves_no_table(tmp_path: Path) -> None:
    whole = of_models(context(1), ["cnn"])
    write_report(tmp_path, whole)
    assert (tmp_path / "table3-eps.csv").is_file()
    write_report(tmp_path, replace(whole, settings=whole.settings.override(["attack.curve_eps=[]"])))
    assert not (tmp_path / "table3-eps.csv").exists()
    assert (tmp_path / "table2-scenes.csv").is_file()


def test_stand_ins_say_synthetic_in_every_title(tmp_path: Path) -> None:
    synthetic = frozenset({"source", "target", "noise"})
    stand_ins = of_models(
        context(1, source_title="IEMOCAP", target_title="MSP-IMPROV", synthetic=synthetic), ["proposed"]
    )
    headings = [
        line for line in write_report(tmp_path, stand_ins).read_text("utf-8").splitlines() if line.startswith("#")
    ]
    titled = [line for line in headings if line.startswith(("# ", "## Table", "## Figure"))]
    assert len(titled) == 6
    assert all("synthetic" in line and "quick" in line for line in titled)
    assert {row["corpus"] for row in read_csv(tmp_path / "table2.csv")} == {"synthetic IEMOCAP"}


def test_partly_finished_plan(tmp_path: Path) -> None:
    whole = of_models(context(), ["cnn", "proposed"])
    failed = next(i for i in whole.expected if (i.point.task, i.point.model) == ("source", "proposed"))
    runs = [run for run in whole.runs if run.id != failed and run.id.point.task == "source"]
    partial = replace(
        whole,
        runs=runs,
        failures=[(failed, "the loss is not finite | epoch 3")],
        missing={"figure2": "no --target was given."},
        parts=("table1", "table2", "table3", "figure2"),
    )
    page = write_report(tmp_path, partial).read_text("utf-8")
    assert f"{len(runs)} of {len(whole.expected)} runs finished, 1 failed" in page
    assert "| 3 of 4 repeats, incomplete (7 of 8 runs) |" in page
    assert "| 0 of 4 repeats, incomplete (0 of 12 runs) |" in page
    assert "no --target was given." in section(page, "Figure 2")
    for heading in ("Figure 2", "Table 4"):
        assert "Not run: " in section(page, heading)
    failures = section(page, "Failed runs")
    for part in (failed.label, "the loss is not finite | epoch 3", f"key {failed.key}", "--retry-failed"):
        assert part in failures
    counts = {
        (row["corpus"], row["model"]): (row["n_repeats"], row["n_folds"]) for row in read_csv(tmp_path / "table1.csv")
    }
    assert counts["EMO-DB", "proposed"] == ("3", "2")
    assert counts["EMO-DB", "cnn"] == ("4", "2")
    assert counts["RAVDESS", "cnn"] == ("0", "0")
    assert not (tmp_path / "figure2.png").exists()
    assert not (tmp_path / "table4.csv").exists()
    assert {row["uar_mean"] for row in read_csv(tmp_path / "figure2.csv")} == {""}


def test_nothing_finished_yet(tmp_path: Path) -> None:
    page = write_report(tmp_path, context(runs=[])).read_text("utf-8")
    assert page.count("\nNot run: ") == 5
    assert "**holds**" not in page
    assert {row["uar_mean"] for row in read_csv(tmp_path / "table2.csv")} == {""}
    assert len(read_csv(tmp_path / "table2.csv")) == 60


SEVEN = ("angry", "bored", "disgust", "fearful", "happy", "neutral", "sad")


def test_any_classes_set_chance_recalls_and_cautions(tmp_path: Path) -> None:
    whole = of_models(context(1, classes=SEVEN), ["proposed"])
    runs = [finished(run.id, {name: confusion(40, 7) for name in run.confusions}) for run in whole.runs]
    page = write_report(tmp_path, replace(whole, runs=runs)).read_text("utf-8")
    assert re.search(r"Chance is\s+14\.3 for the 7 classes angry, bored, disgust, fearful, happy, neutral, sad", page)
    cautions = page.partition("**What this is not**")[2].partition("**How to read")[0]
    assert "angry, bored, disgust, fearful, happy, neutral, sad" in cautions
    for corpus, folds in (("EMO-DB", 2), ("RAVDESS", 3)):
        recalls = section(page, f"Supplement: confusions of Proposed on clean speech, {corpus}")
        table = [cells(line) for line in recalls.splitlines() if line.startswith("|")]
        assert table[0] == ["truth", *SEVEN, "recall (%)"]
        counts = np.array([[int(cell) for cell in row[1:-1]] for row in table[2:]])
        assert counts.tolist() == (folds * confusion(40, 7)).tolist()
        assert {row[-1] for row in table[2:]} == {"40.0"}
        assert [row[0] for row in table[2:]] == [*SEVEN]


@pytest.mark.parametrize(("number", "title"), [(4, "paper (IEMOCAP)"), (2, "paper (IEMOCAP, 4 classes)")])
def test_the_papers_column_names_its_corpus_and_other_classes(tmp_path: Path, number: int, title: str) -> None:
    whole = of_models(context(1, classes=SEVEN[:number], target_title=None, parts=("table1",)), ["cnn"])
    runs = [finished(run.id, {"clean": confusion(40, number)}) for run in whole.runs if run.id.point.task == "source"]
    write_report(tmp_path, replace(whole, runs=runs))
    table = section((tmp_path / "report.md").read_text("utf-8"), "Table 1").splitlines()
    header = next(line for line in table if line.startswith("|"))
    assert cells(header) == ["model", title, "ours", "n"]
    assert f">{title}</th>" in (tmp_path / "report.html").read_text("utf-8")
    assert rf"model & augmentation & {title} & ours \\" in (tmp_path / "tables.tex").read_text("utf-8")


def test_the_papers_own_corpora_and_classes_need_no_caution(tmp_path: Path) -> None:
    papers = {"source_title": "IEMOCAP", "target_title": "MSP-IMPROV"}
    whole = of_models(context(1, **papers), ["cnn"])
    settings = whole.settings.model_copy(update={"scale": "paper"})
    assert "**What this is not**" not in write_report(tmp_path, replace(whole, settings=settings)).read_text("utf-8")


@pytest.mark.parametrize(("classes", "chance"), [(4, 25.0), (7, 100 / 7)])
def test_figure_has_a_bar_for_every_measured_cell_and_a_line_at_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int, chance: float
) -> None:
    from matplotlib.axes import Axes

    heights: list[float] = []
    lines: list[float] = []
    bar, axhline = Axes.bar, Axes.axhline
    monkeypatch.setattr(
        Axes, "bar", lambda axes, x, height, **style: (heights.extend(height), bar(axes, x, height, **style))[1]
    )
    monkeypatch.setattr(Axes, "axhline", lambda axes, y, **style: (lines.append(y), axhline(axes, y, **style))[1])
    whole = context(1, classes=SEVEN[:classes])
    rows = build_tables(whole)["figure2"]
    draw_bars(tmp_path / "figure2.png", rows[:7], "seven cells", whole.chance)
    assert sorted(heights) == pytest.approx(sorted(100 * row.measured.mean for row in rows[:7] if row.measured))
    assert lines == pytest.approx([chance])


@pytest.mark.fast
def test_markdown_tables_are_aligned_and_escape_pipes() -> None:
    table = markdown_table(["name", "n"], [["a|b", "1"], ["long name", "**20**"]])
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| --------- | -----: |"
    assert "a\\|b" in lines[2]


def test_the_page_says_what_it_reproduces_and_how_it_was_made(written: Path) -> None:
    page = (written / "report.md").read_text("utf-8")
    assert published().citation in page
    made = section(page, "How this was made")
    for part in ("python -m fastser.reproduce --all", "device: CPU, 2 cores", "torch: 2.13.0"):
        assert part in made
