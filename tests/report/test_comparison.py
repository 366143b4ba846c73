"""`python -m fastser.compare`: two results folders, paired."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import cells, confusion, finished, read_csv, run_id

from fastser.cli.compare_options import CompareOptions
from fastser.compare import compare
from fastser.experiment.stored_runs import Run
from fastser.report.comparison import ComparisonError, Folder, compared, settings_that_differ
from fastser.report.comparison_page import COMPARISON_COLUMNS, comparison_lines, write_comparison

FOLDS = [f"f{n}" for n in range(1, 9)]
METADATA = {"classes": list("abcd"), "settings": {"training": {"batch_size": 16}}, "seeds": {"run": 0}}


def runs(percent: int, rate: int = 16, **changes: Any) -> list[Run]:
    """Return runs of eight folds whose UAR is about `percent`, and differs between folds."""
    metadata: Mapping[str, Any] = METADATA | {"settings": {"training": {"batch_size": rate}}} | changes
    made = []
    for number, fold in enumerate(FOLDS):
        matrices = {"clean": confusion(percent + number), "noise-park-0db": confusion(percent - number)}
        made.append(replace(finished(run_id("source", "cnn", "none", fold, 1), matrices), metadata=metadata))
    return made


CONDITIONS = ("clean", "noise-0db", "noise-1-0db", "noise-mine", "bim-0.02", "bim-0.08")
"""Conditions of which the last one repeats "bim"."""


@pytest.mark.fast
def test_differences_are_paired(tmp_path: Path) -> None:
    first, second = Folder.of("a", runs(40)), Folder.of("b", runs(44, 32)[:-1])
    found = compared(first, second)
    assert [(cell.condition, cell.runs) for cell in found] == [("clean", 7), ("noise-park-0db", 7)]
    clean = found[0]
    assert (clean.first, clean.second, clean.value) == pytest.approx((0.43, 0.47, 0.04))
    assert clean.difference is not None
    assert clean.difference.p == 2 / 2**7
    assert clean.p_holm == 2 * clean.difference.p
    settings = settings_that_differ(first, second)
    assert settings == [("training.batch_size", "16", "32")]
    page = write_comparison(tmp_path, first, second, found, settings).read_text("utf-8")
    lines = [cells(line) for line in page.splitlines() if line.startswith("| EMO-DB")]
    assert lines[0][:7] == ["EMO-DB", "cnn", "none", "clean", "43.0", "47.0", "**+4.0**"]
    assert "A a: 8 runs, 1 without a partner" in page
    written = read_csv(tmp_path / "comparison.csv")
    assert tuple(written[0]) == COMPARISON_COLUMNS
    assert (written[0]["difference"], written[0]["n_runs"]) == ("4.00", "7")


@pytest.mark.fast
def test_runs_that_cannot_be_paired_are_refused() -> None:
    ours = Folder.of("a", runs(40))
    with pytest.raises(ComparisonError, match="are the same folder"):
        compared(ours, Folder.of("./a", runs(40)))
    with pytest.raises(ComparisonError, match="share no run"):
        compared(ours, Folder.of("b", []))
    with pytest.raises(ComparisonError, match="share no tested utterances"):
        compared(ours, Folder.of("b", runs(40, classes=list("abce"))))
    others = [finished(run.id, {"clean": 2 * run.confusions["clean"]}) for run in runs(40)]
    others = [replace(run, metadata=METADATA) for run in others]
    with pytest.raises(ComparisonError, match="other test sets"):
        compared(ours, Folder.of("b", others))


@pytest.mark.fast
def test_a_constant_answer_has_no_interval() -> None:
    point = [run_id("source", "majority", "none", fold, 1) for fold in FOLDS]
    constant = [replace(finished(place, {"clean": confusion(25)}), metadata=METADATA) for place in point]
    (cell,) = compared(Folder.of("a", constant), Folder.of("b", constant))
    assert (cell.value, cell.difference, cell.p_holm) == (0, None, 1)


@pytest.mark.fast
def test_lines_count_tested_differences_and_leave_out_noise_of_single_scenes() -> None:
    settings = {
        "noise": {"scenes": ["1", "2"], "snr_db": [0.0]},
        "attack": {"eps": 0.08, "curve_eps": [0.02]},
    }
    folders = []
    for name, percent in (("a", 40), ("b", 60)):
        found = []
        for number, fold in enumerate(FOLDS):
            uars = {"cnn": percent + number % 3, "majority": 25}
            for model, uar in uars.items():
                conditions = dict.fromkeys(CONDITIONS, confusion(uar))
                run = finished(run_id("source", model, "none", fold, 1), conditions)
                found.append(replace(run, metadata=METADATA | {"settings": settings}))
        folders.append(Folder.of(name, found))
    compared_cells = compared(*folders)
    tested = [cell for cell in compared_cells if cell.difference]
    assert [cell.p_holm for cell in tested] == pytest.approx([5 * cell.difference.p for cell in tested])
    lines = comparison_lines(*folders, compared_cells)
    assert [line.partition(":")[0] for line in lines[2:5]] == [
        f"EMO-DB, {condition}" for condition in ("clean", "noise-0db", "noise-mine")
    ]
    assert lines[-2:] == [
        "significant (Holm): 5 of 5 differences",
        "only in comparison.csv: 4 cells that the paper's tables lack",
    ]


@pytest.mark.fast
def test_the_most_frequent_settings_of_a_folder_are_compared() -> None:
    folder = Folder.of("a", [*runs(60, 32)[:2], *runs(40)])
    assert folder.set_aside == 2
    assert compared(folder, Folder.of("b", runs(40)))[0].value == 0


@pytest.mark.fast
def test_command_refuses_what_is_no_results_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(CompareOptions(first=tmp_path, second=tmp_path, out=tmp_path / "out")) == 2
    assert "is no results folder" in capsys.readouterr().err
    assert compare(CompareOptions(first=tmp_path, out=tmp_path / "out")) == 2
    assert "give two results folders" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_command_compares_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    from fastser.evaluation.metrics import ConditionResult
    from fastser.experiment.store import ResultStore

    labels = np.arange(40) % 4
    for name, wrong in (("a", 8), ("b", 4)):
        store = ResultStore(tmp_path / name)
        for fold in FOLDS[:6]:
            predicted = np.where(np.arange(40) < wrong, (labels + 1) % 4, labels)
            posteriors = np.eye(4, dtype=np.float32)[predicted]
            result = ConditionResult(posteriors, labels, [f"u{n}" for n in range(40)], [fold] * 40)
            store.save(run_id("source", "cnn", "none", fold, 1), {"clean": result}, METADATA)
    assert compare(CompareOptions(first=tmp_path / "a", second=tmp_path / "b", out=tmp_path / "out")) == 0
    assert compare(CompareOptions(first=tmp_path / "a", second=tmp_path / "a", out=tmp_path / "same")) == 2
    ended = capsys.readouterr()
    assert "are the same folder" in ended.err
    assert not (tmp_path / "same").exists()
    lines = ended.out.splitlines()
    assert lines[2].startswith("EMO-DB, clean: cnn, none: 80.0 -> 90.0, +10.0 (")
    assert lines[-1] == f"comparison: {tmp_path / 'out' / 'comparison.md'}"
