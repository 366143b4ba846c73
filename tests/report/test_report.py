"""The report: aggregation, tables, claims and the page, on made-up trainings whose numbers are known by hand."""

import csv
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from fastser.experiment.grid import Task
from fastser.experiment.store import Run, RunId
from fastser.report import ReportContext, write_report
from fastser.report.aggregation import Grid
from fastser.report.claims import judge
from fastser.report.figures import draw_figure2
from fastser.report.markdown import markdown_table
from fastser.report.published import published
from fastser.report.tables import AUGMENTATIONS, CSV_COLUMNS, MODELS, build_tables

SNRS = (0, 10, 20)
SCENES = ("cafeteria", "kitchen")
SOURCE_CONDITIONS = (
    "clean",
    *(f"noise-{snr}db" for snr in SNRS),
    *(f"noise-{scene}-{snr}db" for scene in SCENES for snr in SNRS),
    "fgsm",
    "bim",
)


def training(task: Task, model: str, augmentation: str, fold: str, repeat: int) -> RunId:
    corpus = {"source": "EMO-DB", "target": "RAVDESS", "cross": "EMO-DB -> RAVDESS"}[task]
    return RunId(task, model, augmentation, fold, repeat, corpus, f"{task}{model}{augmentation}{fold}{repeat}")


def confusion(percent_correct: int) -> np.ndarray:
    """100 utterances of each emotion, of which so many are recognised; the rest goes to the next emotion."""
    return percent_correct * np.eye(4, dtype=np.int64) + (100 - percent_correct) * np.roll(
        np.eye(4, dtype=np.int64), 1, axis=1
    )


def plan(repeats: int) -> list[RunId]:
    trainings = []
    for repeat in range(1, repeats + 1):
        trainings += [training("source", m, a, f, repeat) for m in MODELS for a in AUGMENTATIONS for f in ("f1", "f2")]
        trainings += [training("target", m, "none", f, repeat) for m in MODELS for f in ("g1", "g2", "g3")]
        trainings += [training("cross", m, a, "all", repeat) for m in MODELS for a in AUGMENTATIONS]
    return trainings


def as_the_paper_claims(identity: RunId) -> Run:
    """A training whose UAR rises along the paper's orders of models and augmentations, with noise from the repeat."""
    uar = 30 + 8 * list(MODELS).index(identity.model) + 2 * AUGMENTATIONS.index(identity.augmentation)
    uar += identity.repeat % 2
    conditions = {"source": SOURCE_CONDITIONS, "target": ("clean",), "cross": ("cross-corpus",)}[identity.task]
    return Run(identity, {name: confusion(uar - 5 * (name != "clean")) for name in conditions}, {})


def context(repeats: int = 4, **changes: Any) -> ReportContext:
    expected = plan(repeats)
    whole = ReportContext(
        expected=expected,
        runs=[as_the_paper_claims(identity) for identity in expected],
        source_title="EMO-DB",
        target_title="RAVDESS",
        noise_title="ESC-50",
        scale="quick",
        command="python -m fastser.reproduce --all",
        date="2026-01-31",
        environment={"device": "CPU, 2 cores", "torch": "2.13.0"},
        corpora_lines=["EMO-DB: 339 utterances, complete"],
        settings={"training.batch_size": (16, "open 24", 64), "training.learning_rate": (1e-3, "paper 4.4", 1e-3)},
    )
    return replace(whole, **changes)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_aggregation_by_hand() -> None:
    uars = {("f1", 1): 40, ("f2", 1): 60, ("f1", 2): 50, ("f2", 2): 80}
    ids = {cell: training("source", "cnn", "none", *cell) for cell in uars}
    runs = [Run(ids[cell], {"clean": confusion(uar)}, {}) for cell, uar in uars.items()]
    summary = Grid(list(ids.values()), runs).summary("source", "cnn", "none", "clean")
    assert summary is not None
    assert summary.complete
    assert summary.by_repeat == pytest.approx((0.50, 0.65))
    assert summary.mean == pytest.approx(0.575)
    assert summary.std == pytest.approx(0.15 / 2**0.5)
    assert summary.by_fold == pytest.approx((0.45, 0.70))
    assert summary.fold_std == pytest.approx(0.25 / 2**0.5)
    assert summary.pooled_uar == summary.accuracy == pytest.approx(0.575)


def test_pooled_uar_and_accuracy_weigh_folds_and_classes_by_size() -> None:
    small, large = np.diag([10, 10, 10, 10]), 3 * np.roll(np.diag([10, 10, 10, 10]), 1, axis=1)
    large[0] = [60, 0, 0, 0]
    ids = [training("source", "cnn", "none", fold, 1) for fold in ("f1", "f2")]
    runs = [Run(identity, {"clean": matrix}, {}) for identity, matrix in zip(ids, (small, large), strict=True)]
    summary = Grid(ids, runs).summary("source", "cnn", "none", "clean")
    assert summary is not None
    assert summary.mean == pytest.approx((1 + 0.25) / 2)
    assert summary.pooled_uar == pytest.approx((1 + 3 * 0.25) / 4)
    assert summary.accuracy == pytest.approx(100 / 190)
    assert summary.std is None


def test_a_repeat_with_a_missing_fold_does_not_count() -> None:
    ids = [training("source", "cnn", "none", fold, repeat) for repeat in (1, 2) for fold in ("f1", "f2")]
    runs = [Run(i, {"clean": confusion(u)}, {}) for i, u in zip(ids[:3], (40, 60, 70), strict=True)]
    summary = Grid(ids, runs).summary("source", "cnn", "none", "clean")
    assert summary is not None
    assert not summary.complete
    assert (summary.finished, summary.planned) == (3, 4)
    assert (summary.repeats, summary.planned_repeats) == (1, 2)
    assert summary.by_repeat == pytest.approx((0.5,))
    assert summary.by_fold == pytest.approx((0.4, 0.6))
    assert summary.confusion.tolist() == (confusion(40) + confusion(60)).tolist()


def test_while_no_repeat_is_complete_what_is_finished_stands_in() -> None:
    ids = [training("source", "cnn", "none", fold, repeat) for repeat in (1, 2) for fold in ("f1", "f2", "f3")]
    runs = [Run(i, {"clean": confusion(u)}, {}) for i, u in zip(ids[:2], (40, 60), strict=True)]
    summary = Grid(ids, runs).summary("source", "cnn", "none", "clean")
    assert summary is not None
    assert (summary.repeats, len(summary.by_fold), summary.finished) == (0, 2, 2)
    assert summary.mean == pytest.approx(0.5)


def test_table_1_of_the_paper_and_no_other_number() -> None:
    known = {(n.task, n.model): (n.uar, n.std) for n in published().number}
    iemocap, msp_improv = (61.5, 62.1, 63.2, 63.5, 64.1), (52.6, 53.1, 54.5, 55.6, 56.2)
    assert [known["source", model][0] for model in MODELS] == list(iemocap)
    assert [known["target", model][0] for model in MODELS] == list(msp_improv)
    assert [known["source", model][1] for model in MODELS] == [2.3, 1.8, 1.7, 1.5, 1.3]
    assert [known["target", model][1] for model in MODELS] == [2.5, 2.3, 1.9, 1.6, 1.5]
    assert len(published().number) == 10
    assert [study.uar for study in published().study] == [62.0, 61.4, 55.3, None, None]


def test_csv_files(tmp_path: Path) -> None:
    write_report(tmp_path, context())
    rows = {name: read_csv(tmp_path / f"{name}.csv") for name in ("table1", "table2", "table3", "table4", "figure2")}
    for name, expected in {"table1": 10, "table2": 60, "table3": 40, "table4": 6, "figure2": 20}.items():
        assert len(rows[name]) == expected
        assert tuple(rows[name][0]) == CSV_COLUMNS
    assert len(read_csv(tmp_path / "table2-scenes.csv")) == 20 * len(SCENES) * len(SNRS)
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
    }
    unknown = [row for name in ("table2", "table3", "table4", "figure2") for row in rows[name]]
    assert {row["paper_uar"] + row["paper_std"] for row in unknown} == {""}
    assert [row["model"] for row in rows["table4"][4:]] == ["Latif et al. [36]", "Sahu et al. [41]"]


def test_quoted_studies_stand_only_beside_the_paper_s_corpora() -> None:
    def quoted(**changes: Any) -> list[tuple[str, float | None]]:
        rows = build_tables(context(**changes))["table1"]
        return [(row.model, row.paper_uar) for row in rows if row.model not in MODELS]

    assert quoted() == []
    assert quoted(source_title="IEMOCAP") == [("CNN-LSTM [37]", 62.0), ("CNN [36]", 61.4)]
    everything = [("CNN-LSTM [37]", 62.0), ("CNN [36]", 61.4), ("CNN [36]", 55.3)]
    assert quoted(source_title="IEMOCAP", target_title="MSP-IMPROV") == everything


def test_page_shows_paper_beside_ours(tmp_path: Path) -> None:
    page = write_report(tmp_path, context()).read_text("utf-8")
    assert page.startswith("# fastser report (quick scale)\n")
    proposed = next(line for line in page.splitlines() if line.startswith("| Proposed"))
    cells = [cell.strip() for cell in proposed.strip("|").split("|")]
    assert cells == ["Proposed", "64.1 ± 1.3", "**62.5 ± 0.6**", "4 x 2", "56.2 ± 1.5", "**62.5 ± 0.6**", "4 x 3"]
    assert "paper (IEMOCAP)" in page
    assert published().unknown in page
    assert "The corpora are not the paper's" in page
    assert "| training.batch_size |" in page
    assert "training.learning_rate" not in page
    assert "Sahu et al. [41], Sahu et al., Interspeech 2019" in page
    assert "Satt" not in page
    assert "Failed trainings" not in page
    assert (tmp_path / "figure2.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*"))


def test_stand_ins_say_synthetic_in_every_title(tmp_path: Path) -> None:
    synthetic = frozenset({"source", "target", "noise"})
    stand_ins = context(source_title="IEMOCAP", target_title="MSP-IMPROV", synthetic=synthetic)
    headings = [
        line for line in write_report(tmp_path, stand_ins).read_text("utf-8").splitlines() if line.startswith("#")
    ]
    titled = [line for line in headings if line.startswith(("# ", "## Table", "## Figure"))]
    assert len(titled) == 6
    assert all("synthetic" in line and "quick" in line for line in titled)
    assert {row["corpus"] for row in read_csv(tmp_path / "table2.csv")} == {"synthetic IEMOCAP"}


def test_partly_finished_plan(tmp_path: Path) -> None:
    whole = context()
    failed = next(i for i in whole.expected if i.task == "source" and i.model == "proposed")
    runs = [run for run in whole.runs if run.id != failed and run.id.task == "source"]
    partial = replace(
        whole,
        runs=runs,
        failures=[(failed, "the loss is not finite | epoch 3")],
        missing={"figure2": "there is no target corpus (--target)."},
        parts=frozenset({"table1", "table2", "table3", "figure2"}),
    )
    page = write_report(tmp_path, partial).read_text("utf-8")
    assert f"{len(runs)} of {len(whole.expected)} trainings finished, 1 failed" in page
    assert "| 3 of 4 repeats, incomplete (7 of 8 trainings) |" in page
    assert "| 0 of 4 repeats, incomplete (0 of 12 trainings) |" in page
    assert "Not run: there is no target corpus (--target)." in page
    assert "Not run: it was not asked for." in page
    assert "proposed, none, fold f1, repeat 1: the loss is not finite" in page
    assert f"`runs/{failed.key}.failed.json` has the traceback" in page
    assert "`--retry-failed` tries" in page
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
    assert page.count("Not run: none of its trainings is finished.") == 5
    assert "**holds**" not in page
    assert len(read_csv(tmp_path / "table2.csv")) == 60


def test_same_runs_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for out, runs in ((first, context().runs), (second, list(reversed(context().runs)))):
        out.mkdir()
        write_report(out, context(runs=runs))
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_claims_hold_where_every_difference_is_clear() -> None:
    verdicts = judge(context())
    assert len(verdicts) == 2 + 3 + 3 + 2 + 2 + 1 + 1 + 1
    assert {j.verdict for j in verdicts[:-1]} == {"holds"}
    assert verdicts[-1].verdict == "cannot be said"
    assert published().unknown in verdicts[-1].because


def test_claims_fail_where_one_difference_is_clearly_reversed() -> None:
    def swapped(run: Run) -> Run:
        other = {"proposed": "cnn", "cnn": "proposed"}.get(run.id.model, run.id.model)
        return replace(run, id=replace(run.id, model=other))

    verdicts = judge(context(runs=[swapped(run) for run in context().runs]))
    assert {j.verdict for j in verdicts if "best model" in j.claim or "CNN <" in j.claim} == {"does not hold"}


@pytest.mark.parametrize(("repeats", "finished", "because"), [(1, 1.0, "one repeat"), (4, 0.99, "trainings are fin")])
def test_claims_that_cannot_be_judged(repeats: int, finished: float, because: str) -> None:
    runs = context(repeats).runs
    verdicts = judge(context(repeats, runs=runs[: int(finished * len(runs))]))
    undecided = [j for j in verdicts if because in j.because]
    assert undecided
    assert {j.verdict for j in undecided} == {"cannot be said"}


@pytest.mark.parametrize("shift", [0, 2, 4, 6, 9])
def test_claims_agree_with_scipy_on_a_single_comparison(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = np.array([50, 53, 55, 51]), shift + np.array([51, 50, 54, 58, 52])
    runs = [
        Run(training("cross", "proposed", augmentation, "all", repeat), {"cross-corpus": confusion(uar)}, {})
        for augmentation, uars in (("none", low), ("speed", high))
        for repeat, uar in enumerate(uars)
    ]
    claim = next(c for c in published().claim if c.worst).model_copy(
        update={"worst": None, "rising": ("none", "speed")}
    )
    only = published().model_copy(update={"claim": [claim]})
    monkeypatch.setattr("fastser.report.claims.published", lambda: only)
    (judgement,) = judge(context(expected=[run.id for run in runs], runs=runs))
    significant = ttest_ind(high, low, equal_var=False).pvalue < 0.05
    assert judgement.verdict == ("holds" if significant else "cannot be said")


def test_figure_has_a_bar_for_every_measured_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    heights: list[float] = []
    bar = Axes.bar
    monkeypatch.setattr(
        Axes, "bar", lambda axes, x, height, **style: (heights.extend(height), bar(axes, x, height, **style))[1]
    )
    rows = build_tables(context(repeats=1))["figure2"]
    draw_figure2(tmp_path / "figure2.png", rows[:7], "seven cells")
    assert sorted(heights) == pytest.approx(sorted(100 * row.measured.mean for row in rows[:7] if row.measured))


def test_markdown_tables_are_aligned_and_escape_pipes() -> None:
    table = markdown_table(["name", "n"], [["a|b", "1"], ["long name", "**20**"]])
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| --------- | -----: |"
    assert "a\\|b" in lines[2]


def test_every_claim_names_known_things() -> None:
    names = {*MODELS, *AUGMENTATIONS}
    for claim in published().claim:
        assert names >= {*claim.at, *claim.rising, *filter(None, (claim.best, claim.worst))}
        assert {*claim.conditions} <= {*SOURCE_CONDITIONS, "cross-corpus"}
    cells = [(n.task, n.model, n.augmentation, n.condition) for n in published().number]
    assert all(a != b for a, b in itertools.combinations(cells, 2))
