"""Yardsticks in the report: their rows, and the mark of networks that are below the linear one."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_up import (
    EditPaper,
    cells,
    confusion,
    context,
    finished,
    of_models,
    read_csv,
    run_id,
    section,
    with_table_4,
    with_yardsticks,
)

from fastser.evaluation.statistics import holm
from fastser.report import write_report
from fastser.report.aggregation import difference_of_scores
from fastser.report.cells import best_and_below
from fastser.report.claims import judge
from fastser.report.context import ReportContext
from fastser.report.figures import draw_bars
from fastser.report.tables import build_tables
from fastser.report.yardstick_difference import against_yardstick, compared_with_yardstick

UARS = {"linear": 56, "majority": 25}


def small(repeats: int = 2) -> ReportContext:
    """Return a plan of two networks, whose clean UAR is 30.5 and 62.5, and of the yardsticks."""
    return of_models(with_yardsticks(context(repeats), UARS), ["cnn", "proposed", *UARS])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("yardsticks"), small())


def lines(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of each line of the table under a heading, without its header."""
    text = section(page.read_text("utf-8"), heading).partition("<details>")[0]
    return [cells(line) for line in text.splitlines() if line.startswith("|")][2:]


def test_yardsticks_stand_behind_the_networks_unmarked_and_never_bold(page: Path) -> None:
    assert [line for line in lines(page, "Table 1") if "not run" not in line] == [
        ["CNN", "61.5 ± 2.3", "30.5 ± 0.7 ↓", "2 x 2", "52.6 ± 2.5", "30.5 ± 0.7 ↓", "2 x 3"],
        ["Proposed", "64.1 ± 1.3", "**62.5 ± 0.7**", "2 x 2", "56.2 ± 1.5", "**62.5 ± 0.7**", "2 x 3"],
        ["*Linear (not in the paper)*", "-", "56.0 ± 0.0", "2 x 2", "-", "56.0 ± 0.0", "2 x 3"],
        ["*Majority (not in the paper)*", "-", "25.0 ± 0.0", "2 x 2", "-", "25.0 ± 0.0", "2 x 3"],
    ]


def test_each_table_has_yardsticks_and_the_mark(page: Path) -> None:
    for heading in ("Table 2", "Table 3", "Table 4", "Figure 2", "Supplement: Table 2 by noise scene"):
        found = {(line[0], line[1]): " ".join(line) for line in lines(page, heading)}
        assert "56.0 ± 0.0" in found["*Linear (not in the paper)*", "none"]
        assert "↓" not in found["Proposed", "none"]
        assert all("↓" in line for (title, _), line in found.items() if title == "CNN")
        assert not any("↓" in line or "**" in line for (title, _), line in found.items() if "not in the" in title)
    assert "CNN" in {line[0] for line in lines(page, "Figure 2")} - {line[0] for line in lines(page, "Table 4")}
    names = [line[0] for line in lines(page, "Table 4")]
    first_study = next(index for index, name in enumerate(names) if "(quoted)" in name)
    assert names[:first_study][-2:] == ["*Linear (not in the paper)*", "*Majority (not in the paper)*"]


def test_the_sign_is_explained_where_there_are_yardsticks(page: Path, tmp_path: Path) -> None:
    explained = page.read_text("utf-8").partition("**How to read the tables.**")[2].partition("\n## ")[0]
    assert "↓ marks a network whose number is below that of Linear in the same column" in explained
    assert "most frequent class" in explained
    without = write_report(tmp_path, of_models(context(1), ["cnn"])).read_text("utf-8")
    assert "↓" not in without
    assert "Majority" not in without


def test_csv_files_have_the_rows_of_yardsticks(page: Path) -> None:
    rows = [row for row in read_csv(page.parent / "table1.csv") if row["model"] in UARS]
    found = [(row["model"], row["augmentation"], row["corpus"], row["uar_mean"], row["paper_uar"]) for row in rows]
    assert found == [
        (model, "none", corpus, f"{uar}.00", "") for corpus in ("EMO-DB", "RAVDESS") for model, uar in UARS.items()
    ]
    assert {row["model"] for row in rows if not row["uar_low"]} == {"majority"}
    assert {row["model"] for row in read_csv(page.parent / "metrics.csv")} == {"cnn", "proposed", *UARS}


def test_a_network_is_not_compared_with_a_part_of_a_repeat(tmp_path: Path) -> None:
    whole = small(1)
    one = next(run for run in whole.runs if (run.id.point.model, run.id.point.task) == ("linear", "source"))
    page = write_report(tmp_path, replace(whole, runs=[run for run in whole.runs if run is not one]))
    by_name = {line[0]: line for line in lines(page, "Table 1")}
    assert by_name["CNN"][2] == "31.0"
    assert by_name["CNN"][5] == "31.0 ↓"


@pytest.mark.fast
def test_networks_that_were_not_tested_do_not_count_for_the_correction() -> None:
    whole = of_models(with_yardsticks(context(2, folds=6), {"linear": 56}), ["cnn", "proposed", "linear"])
    left_out = {("linear", 2), ("cnn", 1)}  # so that CNN and Linear have no repeat in common
    runs = [run for run in whole.runs if (run.id.point.model, run.id.point.repeat) not in left_out]
    found = [network for network in compared_with_yardstick(replace(whole, runs=runs)) if network.task == "source"]
    assert {(network.model, network.p_holm) for network in found if not network.difference} == {("cnn", 1.0)}
    tested = [network.difference.p for network in found if network.difference]
    assert [network.p_holm for network in found if network.difference] == holm(tested)
    assert holm(tested) != holm([*tested, *[1.0] * (len(found) - len(tested))])[: len(tested)]


def test_equal_printed_numbers_are_not_marked(tmp_path: Path) -> None:
    equal = of_models(with_yardsticks(context(1), {"linear": 31}), ["cnn", "linear"])
    assert lines(write_report(tmp_path, equal), "Table 1")[0][2] == "31.0"


@pytest.mark.fast
@pytest.mark.parametrize(
    ("percent", "best"),
    [({"cnn": 40, "proposed": 50}, {"proposed"}), ({"cnn": 40}, set()), ({"cnn": 0, "proposed": 0}, set())],
)
def test_the_best_of_several_networks_is_marked_unless_it_recognises_nothing(
    percent: dict[str, int], best: set[str]
) -> None:
    runs = [finished(run_id("source", model, "none", "f1", 1), {"clean": confusion(u)}) for model, u in percent.items()]
    whole = replace(context(1), expected=[run.id for run in runs], runs=runs)
    column = [row for row in build_tables(whole)["table1"] if row.task == "source"]
    assert {model for model, _ in best_and_below(column)[0]} == best


def test_no_number_of_the_paper_stands_beside_a_yardstick(tmp_path: Path, edit_paper: EditPaper) -> None:
    edit_paper(lambda text: with_table_4(text, 51.5))
    page = write_report(tmp_path, small(1))
    assert {line[2] for line in lines(page, "Table 2") if "not in the paper" in line[0]} == {"-"}
    assert {line[2] for line in lines(page, "Table 2") if line[0] == "CNN"} == {"n/a"}


def test_claims_are_judged_without_yardsticks() -> None:
    assert judge(with_yardsticks(context(), UARS)) == judge(context())


def test_the_figure_has_a_line_for_linear_and_no_bar_for_yardsticks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    heights: list[float] = []
    drawn: list[float] = []
    bar, axhline = Axes.bar, Axes.axhline
    monkeypatch.setattr(
        Axes, "bar", lambda axes, x, height, **s: (heights.extend(height), bar(axes, x, height, **s))[1]
    )
    monkeypatch.setattr(Axes, "axhline", lambda axes, y, **s: (drawn.append(y), axhline(axes, y, **s))[1])
    rows = build_tables(small(1))["figure2"]
    draw_bars(tmp_path / "figure2.png", rows, "title", 25.0)
    assert len(heights) == 2 * 4
    assert drawn == pytest.approx([25.0, 56.0])


def test_yardsticks_alone_make_tables_and_no_figure(tmp_path: Path) -> None:
    page = write_report(tmp_path, of_models(small(1), ["linear"]))
    assert [line[0] for line in lines(page, "Table 1") if line[2] != "not run"] == ["*Linear (not in the paper)*"]
    assert not (tmp_path / "figure2.png").exists()


def test_details_have_the_paired_difference_from_the_linear_yardstick(page: Path) -> None:
    found = build_tables(small())["table1"]
    texts = dict(zip(((row.model, row.task) for row in found), against_yardstick(found), strict=True))
    for (model, _), text in texts.items():
        if model in UARS:
            assert text == ""
    low, high = (texts[model, "target"] for model in ("cnn", "proposed"))
    assert low.startswith("-25.5 (")
    assert high.startswith("+6.5 (")
    assert low in page.read_text("utf-8")
    assert high in page.read_text("utf-8")


def test_a_yardstick_of_more_repeats_is_compared_over_those_of_the_network() -> None:
    cells = {row.model: row.ours for row in build_tables(small())["table1"] if row.task == "target"}
    linear, proposed = cells["linear"], cells["proposed"]
    assert linear is not None
    assert proposed is not None
    alone = build_tables(of_models(with_yardsticks(context(1), UARS), ["proposed", *UARS]))["table1"]
    first = {row.model: row.ours for row in alone if row.task == "target"}
    one = first["proposed"]
    assert one is not None
    assert (linear.numbers, one.numbers) == ((1, 2), (1,))
    found, expected = difference_of_scores(linear, one), difference_of_scores(first["linear"], one)
    assert found == expected
    assert found is not None
    assert difference_of_scores(linear, replace(one, numbers=(3,))) is None
    assert difference_of_scores(linear, proposed) != found
