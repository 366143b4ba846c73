"""Pages of saved runs: columns, repeated runs and refused files."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import table

SLOW_COPY, FAST_COPY = 4.0e10, 7.6e10


def _run(**extra_info: Any) -> dict[str, Any]:
    """Return a saved run with one row."""
    info = {"provider": "fastser", "operation": "gather", "shape": "[2, 3]", "device": "cpu", **extra_info}
    row = {"name": "test_operation[x]", "stats": {"median": 0.00234, "rounds": 9}, "extra_info": info}
    return {
        "machine_info": {"machine": "Some CPU, 2 cores", "torch": "2"},
        "commit_info": {"time": "2026-01-02T03"},
        "datetime": "2026-01-03T",
        "benchmarks": [row],
    }


@pytest.mark.fast
def test_a_page_shows_the_measured_columns_and_leaves_empty_ones_out() -> None:
    page = table.page(
        [_run(p20=0.001, p80=0.5, times_eager=2.5, percent_of_limit=41.2, without={"kornia": "not here"})]
    )
    assert "# Some CPU, 2 cores, 2026-01-03" in page
    assert "| provider | median [p20, p80], rounds | x eager | % of limit |" in page
    assert "| fastser | 2.34 ms [1 ms, 500 ms], 9 | 2.50 | 41 |" in page
    assert "Without kornia: not here." in page


def test_a_page_counts_the_speedups_that_repeated_runs_confirm() -> None:
    run, repeat = _run(times_eager=2.0, times_compile=1.0), _run(times_eager=2.29, times_compile=1.16)
    page = table.page([run], [repeat])
    assert "Of 2 speedups over eager and compile, 1 are within 15 % of this run's in all repeated runs (1)." in page
    assert "| compile: gather, [2, 3], cpu | 1.00 | 1.16 | differ |" in page
    assert "eager: gather" not in page
    assert "2 are within 15 % of this run's in all repeated runs (2)." in table.page([run], [run, run])
    with pytest.raises(ValueError, match="different machines"):
        table.page([run], [{**repeat, "machine_info": {"machine": "another"}}])


def test_contradicted_speedups_stand_beside_the_speed_of_the_copy() -> None:
    run = _run(times_eager=2.0, limit_bytes_per_second=SLOW_COPY)
    agrees = _run(times_eager=2.1, limit_bytes_per_second=1.1 * SLOW_COPY)
    differs, contradicts = (_run(times_eager=3.0, limit_bytes_per_second=copy) for copy in (FAST_COPY, SLOW_COPY))
    page = table.page([run], [agrees, differs])
    assert "0 are within 15 %" in page
    assert "1 more agree in the repeated runs whose copy was as fast (within 15 %)." in page
    assert "| 2.00 (40) | 2.10 (44) | 3.00 (76) | agree at equal copy speed |" in page
    assert "| 2.00 (40) | 3.00 (76) | differ, as the copy speed does |" in table.page([run], [differs])
    page = table.page([run], [agrees, differs, contradicts])
    assert "| speedup over (copy, GB/s) | this run | repeated run | repeated run | repeated run | verdict |" in page
    assert "| 2.00 (40) | 2.10 (44) | 3.00 (76) | 3.00 (40) | differ |" in page


def test_a_row_shows_its_speedup_in_each_repeated_run() -> None:
    run, without = _run(times_eager=2.0), _run()
    without["benchmarks"][0]["name"] = "test_operation[y]"
    page = table.page([run], [_run(times_eager=2.1), without, _run(times_eager=3.0)])
    assert "| x eager | x eager, repeated runs |" in page
    assert "| 2.00 | 2.10, -, 3.00 |" in page


def test_the_command_prints_a_page_or_says_why_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, repeat = tmp_path / "run.json", tmp_path / "repeat.json"
    run.write_text(json.dumps(_run(times_eager=2.0)))
    repeat.write_text(json.dumps(_run(times_eager=2.1)))
    monkeypatch.setattr("sys.argv", ["table", str(run), "--repeats", str(repeat)])
    assert table.main() == 0
    assert "| 2.00 | 2.10 |" in capsys.readouterr().out
    repeat.write_text(json.dumps({**_run(), "machine_info": {"machine": "another"}}))
    assert table.main() == 2
    assert "different machines" in capsys.readouterr().err
    repeat.write_text("no JSON")
    assert table.main() == 2
    assert str(repeat) in capsys.readouterr().err
