"""The script of the first minutes on a GPU, on a CPU with the smallest selection."""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.first_gpu.page import page
from benchmarks.first_gpu.rows import Row, append, read

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "first_gpu.sh"


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False, env=os.environ)


def test_the_script_runs_to_its_end_on_a_cpu(tmp_path: Path) -> None:
    done = _run(tmp_path, "--device", "cpu", "--models", "cnn", "--cases", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((tmp_path / "results.json").read_text())
    assert [(stage["name"], stage["status"]) for stage in measured["stages"]] == [
        (name, 0) for name in ("tests", "steps", "operations")
    ]
    rows = [Row(**row) for row in measured["rows"]]
    titles = {(row.title.split(",")[0], row.provider) for row in rows if row.stage == "steps"}
    assert titles == {(what, who) for what in ("training step", "BIM") for who in ("eager", "fastser")}
    assert all(row.seconds is not None and row.seconds > 0 for row in rows if not row.fault)
    assert (tmp_path / "page.md").read_text() in done.stdout


@pytest.mark.fast
def test_a_stage_that_fails_leaves_the_others_running(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\ncase $* in *steps*) exit 3 ;; esac\n")
    (tmp_path / "python").chmod(0o755)
    programs = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([SCRIPT, tmp_path / "out", "--device", "cpu"], capture_output=True, text=True, check=False, env=programs)
    assert done.returncode == 1
    stages = [line.split("\t")[:2] for line in (tmp_path / "out" / "stages.tsv").read_text().splitlines()]
    assert stages == [["tests", "0"], ["steps", "3"], ["operations", "0"], ["page", "0"]]
    assert "steps did not pass (exit status 3)" in done.stdout


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
