"""The script of the first minutes on a GPU, on a CPU with the smallest selection."""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import measurement, timing
from benchmarks.first_gpu import self_tests, steps
from benchmarks.first_gpu.__main__ import main, parser
from benchmarks.first_gpu.page import page
from benchmarks.first_gpu.rows import Row, append, read
from benchmarks.limits import Limits

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "first_gpu.sh"


def _run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """Return a folder with a `python` that notes its arguments, and fails in the stage "steps"."""
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncase $* in *steps*) exit 3 ;; esac\n')
    program.chmod(0o755)
    return program.parent


@pytest.mark.fast
def test_a_stage_that_fails_leaves_the_others_running(stub: Path, tmp_path: Path) -> None:
    done = _run(tmp_path, "--device", "cpu", "--models", "cnn", "--cases", "1", PATH=f"{stub}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "steps did not pass (exit status 3)" in done.stdout
    stages = [line.split("\t")[:2] for line in (tmp_path / "stages.tsv").read_text().splitlines()]
    assert stages == [["self-tests", "0"], ["tests", "0"], ["steps", "3"], ["operations", "0"], ["page", "0"]]
    calls = [call for call in (tmp_path / "calls").read_text().splitlines() if "benchmarks.first_gpu" in call]
    options = [parser().parse_args(call.removeprefix("-m benchmarks.first_gpu ").split()) for call in calls]
    assert [given.stage for given in options] == ["self-tests", "steps", "operations", "page"]
    assert {(given.out, given.device) for given in options} == {(tmp_path, "cpu")}
    assert (options[1].models, options[2].cases) == ("cnn", 1)


def test_every_stage_runs_to_its_end_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "limits", lambda *_: Limits(1e10, 1e11))
    monkeypatch.setattr(timing, "SECONDS_PER_CASE", 0.0)
    monkeypatch.setattr(self_tests, "FAMILIES", ("gather",))
    (tmp_path / "stages.tsv").write_text("steps\t0\t9\n")
    for stage in ("self-tests", "steps", "operations", "page"):
        main([stage, "--out", str(tmp_path), "--device", "cpu", "--models", "cnn", "--cases", "1"])
    rows = [Row(**row) for row in json.loads((tmp_path / "results.json").read_text())["rows"]]
    assert [row for row in rows if row.fault] == []
    names = [(row.title.split(",")[0], row.provider) for row in rows if row.stage == "steps"]
    assert sorted(names) == [(what, who) for what in ("BIM", "training step") for who in ("eager", "fastser")]
    assert {row.provider for row in rows if row.stage == "operations"} == {"eager", "fastser"}
    assert all(row.seconds is not None and row.seconds > 0 for row in rows)
    assert f"| {rows[0].title} | eager |" in (tmp_path / "page.md").read_text()


@pytest.mark.fast
@pytest.mark.parametrize("arguments", [[], ["--device", "cpu"], ["OUT", "--chip", "cpu"]])
def test_wrong_arguments_are_refused(arguments: list[str], tmp_path: Path) -> None:
    done = _run(*(str(tmp_path) if argument == "OUT" else argument for argument in arguments))
    assert done.returncode == 64
    assert "usage" in done.stderr or "unknown option --chip" in done.stderr


@pytest.mark.fast
def test_the_page_has_measured_beside_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row("steps", "training step, CNN", "eager", 4e-3),
        Row("steps", "training step, CNN", "fastser", 2e-3, predicted=1e-3, limit=41.6),
        Row("operations", "transition", "fastser", None, fault="WrongResultError: far off"),
    ]
    for row in rows:
        append(tmp_path, row)
    assert read(tmp_path, ("steps", "operations", "others")) == rows
    assert "training step, CNN; fastser: 2.000 ms" in capsys.readouterr().out
    stages = [{"name": "steps", "status": status, "seconds": 9} for status in (0, 124, 1)]
    text = page({"environment": {"device": "made up"}, "stages": stages, "rows": [asdict(row) for row in rows]})
    assert "| training step, CNN | fastser | 2 ms | 1 ms | 2.00 | 2.00 | 42 |" in text
    assert "| transition | fastser | WrongResultError: far off | | | | |" in text
    assert [text.count(outcome) for outcome in ("| passed |", "| cut off at", "| failed, exit status 1")] == [1, 1, 1]


def test_a_model_that_fails_leaves_the_others_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_attack_rows", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        main(["steps", "--out", str(tmp_path), "--device", "cpu", "--models", "no-such-model,cnn"])
    assert end.value.code == 1
    rows = read(tmp_path, ("steps",))
    assert [(row.provider, row.seconds is not None) for row in rows] == [
        ("all", False),
        ("fastser", True),
        ("eager", True),
    ]
    assert "no-such-model" in rows[0].fault
