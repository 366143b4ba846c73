"""Runs of the command: tables, reuse, interruption, failures, speed perturbation, a single corpus."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from commands import (
    ONE_RUN,
    RUNS,
    Ended,
    Options,
    network_runs,
    raise_when_a_run_ends,
    read_csv,
    read_runs,
    read_tables,
    run_command,
)
from torch import nn

from fastser.layers import LSTM
from fastser.training.loop import train
from fastser.training.state import TrainingError

pytestmark = pytest.mark.usefixtures("signals_are_not_ignored")

ALL_RUNS = 4 * 2 + 4 * 2 + 4
"""Runs of the options `everything`: two networks and two yardsticks on source, target, cross."""

TABLES = ["table1.csv", "table2.csv", "table2-scenes.csv", "table3.csv", "table3-eps.csv", "table4.csv", "figure2.csv"]


def test_every_table_and_figure_is_there(finished: tuple[Path, Ended]) -> None:
    out, ended = finished
    assert f"0 reused, {ALL_RUNS} to do" in ended.out
    assert f"{ALL_RUNS} of {ALL_RUNS} runs finished" in ended.out
    tables = read_tables(out)
    assert sorted(tables) == sorted([*TABLES, "metrics.csv"])
    for name in TABLES:
        rows = tables[name].splitlines()
        assert rows[0].startswith("model,augmentation,condition,corpus,uar_mean,uar_std,n_repeats,n_folds"), name
        assert any(re.search(r",synthetic [^,]*,\d+\.\d+,,1,[12],", row) for row in rows), name
    report = (out / "report.md").read_text()
    assert report.startswith("# fastser report (synthetic speech, quick scale)")
    assert "![Figure 2" in report
    assert (out / "figure2.png").stat().st_size > 10_000
    assert {row["condition"] for row in read_csv(out / "runs.csv")} >= {
        "clean",
        "noise-park-0db",
        "bim",
        "cross-corpus",
    }
    assert r"\begin{tabular}" in (out / "tables.tex").read_text()
    page = (out / "report.html").read_text()
    assert page.count("<audio controls") == 3  # clean, two SNRs; without kept weights no attack
    assert "validation accuracy" in page
    assert f"in a browser: {out / 'report.html'}" in ended.out
    assert len(read_runs(out)) == ALL_RUNS


def test_results_of_single_scenes_are_not_printed_when_a_run_ends(finished: tuple[Path, Ended]) -> None:
    out, ended = finished
    lines = [line for line in ended.out.splitlines() if line.startswith("[") and "IEMOCAP: " in line]
    assert len(lines) == 8
    for line in lines:
        assert re.findall(r"(?<= )([\w-]+) \d+\.\d(?=,|  \()", line) == [
            "clean",
            "noise-0db",
            "noise-10db",
            "fgsm",
            "bim",
        ]
    assert "noise-park-0db" in (out / "table2-scenes.csv").read_text()


def test_again_reuses_everything_and_writes_the_same(finished: tuple[Path, Ended], everything: Options) -> None:
    out, _ = finished

    def state() -> tuple[dict[str, str], dict[str, int]]:
        return read_tables(out), {path.name: path.stat().st_mtime_ns for path in (out / "runs").glob("*.json")}

    before = state()
    ended = run_command(**everything, out=out)
    assert ended.status == 0
    assert f"{ALL_RUNS} reused, 0 to do" in ended.out
    assert state() == before


def test_a_changed_setting_never_mixes_with_old_results(manifest: Path, tmp_path: Path) -> None:
    options = {**ONE_RUN, "source": f"manifest={manifest}", "out": tmp_path / "out"}
    assert f"0 reused, {RUNS} to do" in run_command(**options).out
    changed = run_command(**options, set=["training.learning_rate=0.002"])
    assert f"{RUNS - 1} reused, 1 to do" in changed.out  # yardsticks have no learning rate
    assert f"{RUNS} reused, 0 to do" in run_command(**options).out
    assert len(read_runs(tmp_path / "out")) == RUNS + 1


def test_dry_run_shows_the_grid_and_writes_nothing(everything: Options, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = run_command(**everything, dry_run=True, out=out)
    assert (ended.status, ended.err) == (0, "")
    assert re.findall(r"= (\d+) runs", ended.out) == ["4", "4"] * 2 + ["2", "2"]
    assert re.search(rf"0 reused, {ALL_RUNS} to do, about \d+ (s|min)", ended.out)
    for table in ("table1", "table2", "table3", "table4", "figure2"):
        assert re.search(rf"^  {table} +\d+ runs?, about", ended.out, re.MULTILINE)
    assert not out.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_how_to_go_on(
    number: signal.Signals, corpora: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**corpora, "table": ("1",), "models": "cnn", "folds": 2, "out": tmp_path}
    with monkeypatch.context() as patch:
        raise_when_a_run_ends(patch, number)
        ended = run_command(**options)
    assert (ended.status, ended.err) == (130, "")
    assert f"interrupted: 1 of 12 runs are finished and kept under {tmp_path}" in ended.out
    assert "the same command continues" in ended.out
    assert f"report so far: {tmp_path / 'report.md'}" in ended.out
    assert (tmp_path / "report.md").read_text().splitlines()[2].startswith("1 of 12 runs finished")
    ended = run_command(**options)
    assert ended.status == 0
    assert "1 reused, 11 to do" in ended.out


def test_a_second_signal_ends_at_once(corpora: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_when_a_run_ends(monkeypatch, signal.SIGINT, signal.SIGINT)
    ended = run_command(**corpora, table=("1",), models="cnn", folds=2, out=tmp_path)
    assert ended.status == 130
    assert re.fullmatch(r"interrupted.*the same command continues.*\n", ended.err)
    assert not (tmp_path / "report.md").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_failed_run_does_not_stop_the_others(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_without_lstm(model: nn.Module, *arguments: Any) -> object:
        if not any(isinstance(module, LSTM) for module in model.modules()):
            raise TrainingError("the training loss is nan after epoch 1")
        return train(model, *arguments)

    options = {**ONE_RUN, "models": "cnn,cnn-lstm", "source": f"manifest={manifest}", "out": tmp_path / "out"}
    with monkeypatch.context() as patch:
        patch.setattr("fastser.experiment.experiment.train", fail_without_lstm)
        ended = run_command(**options)
    assert ended.status == 1
    assert f"{RUNS} of {RUNS + 1} runs finished" in ended.out
    failed = "corpus.csv: cnn, none, fold s0, repeat 1: the training loss is nan after epoch 1"
    assert f"failed: {failed}" in ended.out
    report = (tmp_path / "out" / "report.md").read_text()
    assert failed in report.partition("## Failed runs")[2]
    again = run_command(**options)
    assert f"{RUNS} reused, 1 failed before" in again.out
    assert (again.status, len(read_runs(tmp_path / "out"))) == (1, RUNS)
    assert run_command(**options, retry_failed=True).status == 0
    assert len(read_runs(tmp_path / "out")) == RUNS + 1


def test_speed_perturbation_trains_on_three_times_the_segments(corpora: Options, tmp_path: Path) -> None:
    """A segment is longer than every utterance here, so each version of an utterance is one segment."""
    options = {**ONE_RUN, **corpora, "target": None, "noise": None, "augmentations": "none,speed,speed+mixup"}
    whole = ["spectrogram.segment_frames=400", "spectrogram.segment_hop=400"]
    ended = run_command(**options, set=whole, out=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    metadata = {run.id.point.augmentation: run.metadata for run in network_runs(tmp_path)}
    plain = metadata["none"]["segments"]
    assert plain == {"train": 32, "validation": 4, "test": 4}
    for augmentation in ("speed", "speed+mixup"):
        assert metadata[augmentation]["segments"] == {**plain, "train": 3 * plain["train"]}
        assert metadata[augmentation]["normalisation"] != metadata["none"]["normalisation"]
    assert metadata["speed"]["normalisation"] == metadata["speed+mixup"]["normalisation"]


@pytest.mark.parametrize(
    ("given", "absent", "corpus"), [("source", "target", "IEMOCAP"), ("target", "source", "MSP-IMPROV")]
)
def test_table_1_of_one_corpus_is_half_filled(
    corpora: Options, tmp_path: Path, given: str, absent: str, corpus: str
) -> None:
    options = {given: corpora[given], "scale": "quick", "table": ("1", "4"), "models": "cnn", "folds": 1}
    ended = run_command(**options, out=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    half, none = (
        next(line for line in ended.out.splitlines() if f"  {table}: " in line) for table in ("table1", "table4")
    )
    assert "partly filled" in half
    assert f"no --{absent}" in half
    assert "not filled" in none
    rows = read_csv(tmp_path / "table1.csv")
    own = [row for row in rows if row["uar_mean"]]
    assert [row["model"] for row in own] == ["cnn", "linear", "majority"]
    assert {row["corpus"].removeprefix("synthetic ") for row in rows} == {corpus}
    assert {row["uar_mean"] for row in read_csv(tmp_path / "table4.csv")} <= {""}
    report = (tmp_path / "report.md").read_text()
    table_1 = report.partition("## Table 1")[2].partition("\n## ")[0]
    assert f"o --{absent} was given." in table_1
    assert "| CNN " in table_1


def test_the_reference_kernels_make_the_same_tables_under_another_key(manifest: Path, tmp_path: Path) -> None:
    options = {**ONE_RUN, "source": f"manifest={manifest}", "out": tmp_path / "out"}
    run_command(**options)
    fused = read_csv(tmp_path / "out" / "table3.csv")
    ended = run_command(**options, kernels="reference")
    assert f"0 reused, {RUNS} to do" in ended.out
    assert read_csv(tmp_path / "out" / "table3.csv") == fused
    assert len({run.metadata["environment"]["kernels"] for run in read_runs(tmp_path / "out")}) == 2


def test_weights_are_kept_where_they_are_asked_for(manifest: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    options = {**ONE_RUN, "source": f"manifest={manifest}", "out": tmp_path / "out"}
    run_command(**options, keep_models=True)
    assert len(list((tmp_path / "out" / "models").glob("*.safetensors"))) == RUNS
    (run,) = network_runs(tmp_path / "out")
    with safe_open(tmp_path / "out" / "models" / f"{run.id.key}.safetensors", "pt") as weights:
        description = weights.metadata()["fastser"]
        assert weights.keys()
    for part in (run.id.key, '"normalisation"', '"angry"'):
        assert part in description
