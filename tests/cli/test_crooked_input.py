"""Odd input and contradicting arguments: nothing is lost, and nothing happens silently."""

import os
from pathlib import Path

import pytest
import torch
from commands import ONE_RUN, RUNS, network_runs, read_csv, read_runs, run_command, snapshot, write_manifest

from fastser.cli.command import RepeatedOptionError, refuse_repeated
from fastser.cli.options import CliOptions
from fastser.experiment.store import ResultStore

EMOTIONS = ("angry", "happy", "neutral", "sad")


@pytest.mark.fast
@pytest.mark.parametrize("second", [["--source", "emodb=b"], ["--source=emodb=b"]])
def test_an_option_with_one_value_is_refused_twice(second: list[str]) -> None:
    with pytest.raises(RepeatedOptionError, match="--source is given 2 times"):
        refuse_repeated(CliOptions, ["--all", "--source", "emodb=a", *second])


@pytest.mark.fast
def test_options_with_several_values_may_be_repeated() -> None:
    refuse_repeated(CliOptions, ["--table", "1", "--table=2", "--set", "a.b=1", "--set", "a.c=2", "--slurm=x=1"])


def test_more_folds_than_speakers_are_named_in_the_plan(manifest: Path) -> None:
    ended = run_command(**{**ONE_RUN, "folds": 99}, source=f"manifest={manifest}", dry_run=True)
    assert (ended.status, ended.err) == (0, "")
    assert "corpus.csv has 4 folds, not 99" in ended.out


def test_models_are_known_by_the_names_of_the_report(manifest: Path) -> None:
    options = {**ONE_RUN, "models": "CNN, densenet-LSTM", "source": f"manifest={manifest}"}
    ended = run_command(**options, dry_run=True)
    assert "2 models (cnn, densenet-lstm)" in ended.out


def test_the_own_split_of_a_corpus_is_not_called_leave_one_speaker_out(manifest: Path) -> None:
    parts = {"s0": "train", "s1": "train", "s2": "validation", "s3": "test"}
    header, *lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([f"{header},split", *(f"{line},{parts[line.split(',')[1]]}" for line in lines)]))
    ended = run_command(**ONE_RUN, source=f"manifest={manifest}", dry_run=True)
    assert (ended.status, ended.err) == (0, "")
    assert "own split of corpus.csv" in ended.out
    assert "leave-one-speaker-out" not in ended.out


def test_a_corpus_of_two_speakers_is_enough_to_be_tested_on_across_corpora(manifest: Path, tmp_path: Path) -> None:
    pair = write_manifest(tmp_path / "pair" / "pair.csv", EMOTIONS, speakers=2)
    corpora = {"source": f"manifest={manifest}", "target": f"manifest={pair}", "scale": "quick", "models": "cnn"}
    ended = run_command(**corpora, figure=("2",), augmentations="none", out=tmp_path / "out")
    assert (ended.status, ended.err) == (0, "")
    assert len(read_runs(tmp_path / "out")) == RUNS
    refused = run_command(**corpora, table=("1",), out=tmp_path / "out")
    assert refused.status == 2
    assert "pair.csv: leave-one-speaker-out needs at least 3 speakers" in refused.err


def test_many_bad_files_make_one_warning_with_three_examples(manifest: Path, tmp_path: Path) -> None:
    bad = sorted((tmp_path / "wav").glob("0-*.wav"))[:5]
    for path in bad:
        path.write_bytes(b"no audio")
    ended = run_command(**ONE_RUN, source=f"manifest={manifest}", allow_bad_files=True, dry_run=True)
    assert ended.status == 0
    (warning,) = [line for line in ended.out.splitlines() if "unusable" in line]
    assert "5 unusable files" in warning
    assert "and 2 more" in warning
    assert [path.name in warning for path in bad] == [True, True, True, False, False]


def test_small_validation_sets_are_named_once(manifest: Path) -> None:
    ended = run_command(
        ["protocol.min_validation_utterances=9"],
        **{**ONE_RUN, "folds": 4},
        source=f"manifest={manifest}",
        dry_run=True,
    )
    (warning,) = [line for line in ended.out.splitlines() if "fewer than 9" in line and "have fewer" in line]
    assert "4 of 4 validation sets" in warning
    assert "and 1 more" in warning


def test_a_table_leaves_the_tables_of_earlier_commands_alone(manifest: Path, tmp_path: Path) -> None:
    options = {**ONE_RUN, "source": f"manifest={manifest}", "out": tmp_path / "out"}
    assert run_command(**{**options, "table": ("1",)}).status == 0
    first = (tmp_path / "out" / "table1.csv").read_bytes()
    assert run_command(**options).status == 0
    assert (tmp_path / "out" / "table1.csv").read_bytes() == first
    assert read_csv(tmp_path / "out" / "table3.csv")


def test_finished_runs_without_kept_weights_are_made_again(manifest: Path, tmp_path: Path) -> None:
    options = {**ONE_RUN, "source": f"manifest={manifest}", "out": tmp_path}
    assert run_command(**options).status == 0
    (before,) = network_runs(tmp_path)
    posteriors = (tmp_path / "runs" / f"{before.id.key}.npz").read_bytes()
    again = run_command(**options, keep_models=True)
    assert (again.status, again.err) == (0, "")
    assert f"finished but without kept weights: {RUNS} runs, made again" in again.out
    for suffix in (".safetensors", ".md"):
        assert (tmp_path / "models" / f"{before.id.key}{suffix}").is_file()
    assert (tmp_path / "runs" / f"{before.id.key}.npz").read_bytes() == posteriors
    assert f"{RUNS} reused, 0 to do" in run_command(**options, keep_models=True).out


def test_a_dry_run_counts_finished_and_failed_runs_and_writes_nothing(manifest: Path, tmp_path: Path) -> None:
    options = {**ONE_RUN, "source": f"manifest={manifest}", "out": tmp_path}
    assert run_command(**options).status == 0
    store = ResultStore(tmp_path)
    (network,) = network_runs(tmp_path)
    store.fail(network.id, "no luck", "Traceback ...", {})  # as after it was to be made again with --keep-models
    (part := tmp_path / "runs" / ".left.npz.part").write_bytes(b"")
    os.utime(part, (0, 0))
    before = snapshot(tmp_path)
    assert f"{RUNS} reused, 0 to do" in run_command(**options, dry_run=True).out
    again = run_command(**options, dry_run=True, keep_models=True).out
    assert f"0 reused, 1 failed before (--retry-failed tries again), {RUNS - 1} to do" in again
    assert f"finished but without kept weights: {RUNS - 1} runs, made again" in again
    assert snapshot(tmp_path) == before


def test_a_tilde_in_the_results_folder_is_the_home_folder(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert run_command(**ONE_RUN, source=f"manifest={manifest}", out=Path("~/results")).status == 0
    assert (tmp_path / "home" / "results" / "report.md").is_file()
    assert not (tmp_path / "~").exists()


def test_the_home_of_an_unknown_user_is_named(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = "~nobody-of-this-name"
    for options in (
        {"source": f"manifest={home}/my.csv"},
        {"source": f"manifest={manifest}", "noise": f"folder={home}"},
    ):
        refused = run_command(**ONE_RUN, **options, out=tmp_path / "out")
        assert (refused.status, f"{home}" in refused.err, "does not exist" in refused.err) == (2, True, True)
    refused = run_command(**ONE_RUN, source=f"manifest={manifest}", out=Path(home) / "results")
    assert refused.status == 2
    assert refused.err.endswith(f"no home folder is known for {home}. Give --out the path of a folder\n")
    assert not (tmp_path / home).exists()


def test_memory_that_is_full_before_the_runs_is_one_sentence(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastser.cli.main.prepared_experiment", lambda *_: torch.empty(10**14))
    ended = run_command(**ONE_RUN, source=f"manifest={manifest}", out=tmp_path)
    assert ended.status == 2
    assert ended.err.startswith("error: out of main memory: ")
    assert ended.err.count("\n") == 1


def test_square_brackets_and_dollars_in_names_are_printed_as_they_are(tmp_path: Path) -> None:
    odd = write_manifest(tmp_path / "[red]a$b$.csv", EMOTIONS)
    odd.write_text(odd.read_text().replace(",s0,", ",[bold]s0,"))
    ended = run_command(
        figure=("2",),
        scale="quick",
        models="cnn",
        augmentations="none",
        source=f"manifest={odd}",
        target=f"manifest={write_manifest(tmp_path / 'b' / 'other.csv', EMOTIONS)}",
        out=tmp_path / "out",
    )
    assert (ended.status, ended.err) == (0, "")
    assert "[red]a$b$.csv: 32 utterances" in ended.out
    assert "[red]a$b$.csv" in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "figure2.png").is_file()
