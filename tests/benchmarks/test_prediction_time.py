"""`python -m benchmarks.prediction_time`: the numbers of its page, with a clock of the test."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import prediction_time


@pytest.mark.fast
def test_page_has_medians_and_times_real_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(16_000), 16_000)
    asked: list[list[str]] = []
    times = iter([9.0, 2.0, 4.0, 1.0, 9.0, 0.5, 0.25, 1.5])

    def seconds_of(inputs: list[str]) -> float:
        asked.append(inputs)
        return next(times)

    monkeypatch.setattr(prediction_time, "seconds_of", seconds_of)
    out = tmp_path / "page.md"
    prediction_time.main([str(tmp_path), "--repeats", "3", "--out", str(out)])
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.read_text("utf-8").splitlines()]
    assert ["one recording", "1.0", "2.00", "1.00 to 4.00", "0.5"] in lines
    assert ["3 recordings", "3.0", "0.50", "0.25 to 1.50", "6.0"] in lines
    assert asked == [[str(tmp_path / "a.wav")]] * 4 + [[str(tmp_path)]] * 4


@pytest.mark.fast
def test_a_command_that_fails_is_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_time.sys, "executable", "false")
    with pytest.raises(prediction_time.subprocess.CalledProcessError):
        prediction_time.seconds_of([str(tmp_path)])
