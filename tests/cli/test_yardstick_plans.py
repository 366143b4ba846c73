"""Yardsticks on the command line: which plans they are part of, and a results folder that holds nothing else."""

import re
from pathlib import Path

import pytest
from commands import ONE_RUN, Options, read_csv, read_runs, run_command

import fastser
from fastser.evaluation.model_error import ModelError


@pytest.mark.parametrize(
    ("chosen", "planned"),
    [
        ({"models": "cnn"}, ["1 model (cnn)", "2 yardsticks (linear, majority)"]),
        ({"models": "cnn", "augmentations": "mixup"}, ["1 model (cnn)", "2 yardsticks (linear, majority)"]),
        ({"models": "Linear"}, ["1 yardstick (linear)"]),
        ({"models": "majority,cnn"}, ["1 model (cnn)", "1 yardstick (majority)"]),
        ({"models": None}, ["5 models (", "2 yardsticks (linear, majority)"]),
    ],
)
def test_yardsticks_stand_beside_networks_unless_one_is_named(
    manifest: Path, chosen: Options, planned: list[str]
) -> None:
    ended = run_command(**{**ONE_RUN, **chosen, "source": f"manifest={manifest}", "dry_run": True})
    assert (ended.status, ended.err) == (0, "")
    lines = re.findall(r"^    (\d (?:model|yardstick).*)$", ended.out, re.MULTILINE)
    assert [line.startswith(part) for line, part in zip(lines, planned, strict=True)] == [True] * len(planned)
    assert all("1 augmentation (none)" in line for line in lines if "yardstick" in line)


def test_networks_that_no_table_shows_are_an_error_although_it_shows_yardsticks(corpora: Options) -> None:
    options = {**corpora, "table": ("4",), "augmentations": "none", "dry_run": True}
    refused = run_command(**options, models="cnn")
    assert (refused.status, refused.err) == (2, "error: nothing to do: Table 4 shows only proposed.\n")
    assert run_command(**options, models="linear").status == 0


def test_a_folder_of_yardsticks_alone(corpora: Options, tmp_path: Path) -> None:
    options = {**corpora, "everything": True, "models": "linear", "folds": 1, "out": tmp_path}
    ended = run_command(**options, keep_models=True)
    assert (ended.status, ended.err) == (0, "")
    assert "3 of 3 runs finished" in ended.out
    runs = read_runs(tmp_path)
    assert [run.metadata["epochs"] for run in runs] == [[], [], []]
    for table in ("table1", "table2", "table3", "table4", "figure2"):
        rows = read_csv(tmp_path / f"{table}.csv")
        assert {row["model"] for row in rows if row["uar_mean"]} == {"linear"}
    assert "*Linear (not in the paper)*" in (tmp_path / "report.md").read_text("utf-8")
    assert not (tmp_path / "figure2.png").exists()
    assert "3 reused, 0 to do" in run_command(**options, set=["training.learning_rate=0.002"]).out
    weights = tmp_path / "models" / f"{runs[0].id.key}.safetensors"
    with pytest.raises(ModelError, match="'linear' is a yardstick of whole utterances; give the weights of a network"):
        fastser.evaluate(weights, corpora["source"], progress=False)
