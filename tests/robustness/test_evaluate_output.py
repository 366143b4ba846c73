"""`python -m fastser.evaluate`: results that outlive a standard output that cannot be written."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from fastser.cli.evaluate_options import EvaluateOptions
from fastser.evaluate import run
from fastser.evaluation.metrics import ConditionResult
from fastser.robustness import Evaluation

pytestmark = pytest.mark.fast


def evaluation() -> Evaluation:
    """Return a result of four utterances of two speakers."""
    posteriors = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]], np.float32)
    clean = ConditionResult(posteriors, np.array([0, 1, 0, 1]), ["1", "2", "3", "4"], ["ann", "ann", "bob", "bob"])
    return Evaluation("net", "Voices", ("happy", "sad"), {"clean": clean}, ("a note [with brackets]",))


def options(out: Path) -> EvaluateOptions:
    return EvaluateOptions(weights="emodb", source=f"emodb={out}", out=out, device="cpu")


@pytest.fixture(autouse=True)
def evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastser.cli.evaluate_main.evaluate", lambda *_, **__: evaluation())


def test_a_closed_pipe_behind_standard_output_loses_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with io.TextIOWrapper(io.FileIO(write, "w"), line_buffering=True) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert run(options(tmp_path)) == 0
    assert "standard output cannot be written (Broken pipe)" in capsys.readouterr().err
    assert (tmp_path / "report.md").read_text("utf-8").startswith("# Robustness of net")


def test_the_table_and_the_path_of_the_report_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(options(tmp_path)) == 0
    assert capsys.readouterr().out == f"{evaluation()}\nreport: {tmp_path / 'report.md'}\n"
