"""That a benchmark gives no time for a wrong result, and what its page says."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fastser_kernels.dense_block import op as dense_block
from fastser_kernels.transition import op as transition

from benchmarks import measurement, table, test_operations, timing
from benchmarks.cases import all_cases
from benchmarks.cases import dense_block as dense_block_cases
from benchmarks.cases import transition as transition_cases
from benchmarks.gate import WrongResultError, check_accuracy
from benchmarks.limits import Limits
from benchmarks.measurement import Measurement, measure
from benchmarks.work import Case, Work

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SECONDS_PER_CASE", 0.0)
    monkeypatch.setattr(measurement, "limits", lambda *_: Limits(1e10, 1e11))


def _case(module: Any, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Case:
    monkeypatch.setattr(module, "compiled", lambda *_: ({}, {"compile": "left out"}))
    return Case("made small", "here", ("eager", "fastser"), partial(module._work, **arguments))


@pytest.mark.usefixtures("own_operations")
def test_right_results_are_timed_beside_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = {"shape": (2, 8, 10, 12), "growth_rate": 4, "layers": 3}
    rows = measure(_case(dense_block_cases, monkeypatch, **shape, mode="forward + backward"), CPU)
    ours, eager = rows["fastser"], rows["eager"]
    assert isinstance(ours, Measurement)
    assert isinstance(eager, Measurement)
    assert rows["compile"] == "left out"
    assert len(ours.seconds) == len(eager.seconds) == timing.MIN_ROUNDS
    assert ours.facts["p20"] <= sorted(ours.seconds)[len(ours.seconds) // 2] <= ours.facts["p80"]
    assert eager.facts["times_eager"] == 1.0
    assert ours.facts["ideal_bytes"] == sum(dense_block.ideal_bytes(240, 8, 4, 3, 4))
    assert 0 < ours.facts["saved_bytes"] < 0.3 * eager.facts["saved_bytes"]
    assert ours.facts["peak_bytes"] > 0


@pytest.mark.usefixtures("own_operations")
@pytest.mark.parametrize("broken", ["forward", "backward"])
def test_a_broken_kernel_has_no_time(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = {"shape": (2, 8, 10, 12), "growth_rate": 4, "layers": 3}
    case = _case(dense_block_cases, monkeypatch, **shape, mode="forward + backward")
    right = getattr(dense_block, f"_{broken}")

    def wrong(*arguments: Any) -> Any:
        first, *rest = right(*arguments)
        return first * 1.01, *rest

    monkeypatch.setattr(dense_block, f"_{broken}", wrong)
    rows = measure(case, CPU)
    assert isinstance(rows["eager"], Measurement)
    with pytest.raises(WrongResultError, match=r"fastser: result \d is 1\.\de-02 from float64, allowed .*: not timed"):
        raise rows["fastser"]  # type: ignore[misc]
    monkeypatch.setattr(test_operations, "measured", lambda *_: rows)
    with pytest.raises(WrongResultError):
        test_operations.test_operation(None, case, "fastser", "cpu")  # type: ignore[arg-type]


@pytest.mark.usefixtures("own_operations")
def test_a_kernel_that_is_wrong_at_few_places_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    case = _case(transition_cases, monkeypatch, shape=(2, 8, 10, 12), mode="forward")
    right = transition._forward

    def wrong(*arguments: Any) -> Any:
        pooled, *statistics = right(*arguments)
        pooled[0, 0, 0, 0] = float("nan")
        return pooled, *statistics

    monkeypatch.setattr(transition, "_forward", wrong)
    assert isinstance(measure(case, CPU)["fastser"], WrongResultError)


def test_the_gate_allows_what_rounding_does_and_no_more() -> None:
    exact = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    eager = exact.float()
    check_accuracy("who", [eager], [eager], [exact])
    with pytest.raises(WrongResultError, match="who: result 0 is "):
        check_accuracy("who", [eager * (1 + 1e-5)], [eager], [exact])
    with pytest.raises(WrongResultError, match="is inf from float64"):
        check_accuracy("who", [eager[:-1]], [eager], [exact])


def test_every_case_names_providers_that_it_builds_or_explains() -> None:
    cases = all_cases()
    assert len({(case.group, case.shape, device) for case in cases for device in case.devices}) == sum(
        len(case.devices) for case in cases
    )
    case = next(case for case in cases if case.group == "L-infinity step")
    work: Work = case.build(CPU)
    assert {*work.providers, *work.missing} >= set(case.providers)


def _run(**facts: Any) -> dict[str, Any]:
    row = {
        "name": "test_operation[x]",
        "stats": {"median": 0.00234, "rounds": 9},
        "extra_info": {"provider": "fastser", "operation": "gather", "shape": "[2, 3]", "device": "cpu", **facts},
    }
    machine = {"machine": "Some CPU, 2 cores", "torch": "2"}
    return {
        "machine_info": machine,
        "commit_info": {"time": "2026-01-02T03"},
        "datetime": "2026-01-03T",
        "benchmarks": [row],
    }


def test_page_shows_what_was_measured_and_leaves_empty_columns_out() -> None:
    page = table.page(
        [_run(p20=0.001, p80=0.5, times_eager=2.5, percent_of_limit=41.2, without={"kornia": "not here"})]
    )
    assert "# Some CPU, 2 cores, 2026-01-03" in page
    assert "| provider | median [p20, p80], rounds | x eager | % of limit |" in page
    assert "| fastser | 2.34 ms [1 ms, 500 ms], 9 | 2.50 | 41 |" in page
    assert "Without kornia: not here." in page


def test_page_says_how_far_further_runs_confirm_it() -> None:
    run, again = _run(times_eager=2.0, times_compile=1.0), _run(times_eager=2.29, times_compile=1.16)
    page = table.page([run], [again])
    assert "Of 2 ratios of ours to eager and to compile, 1 are within 15 % of this run's in all" in page
    assert "| compile: gather, [2, 3], cpu | 1.00 | 1.16 | differ |" in page
    assert "eager: gather" not in page
    assert "2 are within 15 % of this run's in all further runs of the same commit (2)" in table.page([run], [run, run])
    with pytest.raises(ValueError, match="different machines"):
        table.page([run], [{**again, "machine_info": {"machine": "another"}}])


def test_ratios_that_a_run_contradicts_stand_beside_what_a_copy_reached() -> None:
    slow, fast = 4.0e10, 7.6e10
    run = _run(times_eager=2.0, limit_bytes_per_second=slow)
    agrees = _run(times_eager=2.1, limit_bytes_per_second=1.1 * slow)
    differs, contradicts = (_run(times_eager=3.0, limit_bytes_per_second=copy) for copy in (fast, slow))
    page = table.page([run], [agrees, differs])
    assert "0 are within 15 %" in page
    assert "1 more in those in which a large copy was as fast (within 15 %)." in page
    assert "| 2.00 (40) | 2.10 (44) | 3.00 (76) | agree where the copy was as fast |" in page
    assert "| 2.00 (40) | 3.00 (76) | differ, and so did the copy |" in table.page([run], [differs])
    page = table.page([run], [agrees, differs, contradicts])
    assert "| ratio to (copy, GB/s) | this run | further run | further run | further run | the runs |" in page
    assert "| 2.00 (40) | 2.10 (44) | 3.00 (76) | 3.00 (40) | differ |" in page


def test_a_row_shows_its_ratio_in_each_further_run() -> None:
    run, without = _run(times_eager=2.0), _run()
    without["benchmarks"][0]["name"] = "test_operation[y]"
    page = table.page([run], [_run(times_eager=2.1), without, _run(times_eager=3.0)])
    assert "| x eager | in further runs |" in page
    assert "| 2.00 | 2.10, -, 3.00 |" in page


def test_page_of_two_machines_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = _run(), _run()
    other["machine_info"] = {"machine": "another"}
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, run in zip(paths, (one, other), strict=True):
        path.write_text(json.dumps(run))
    monkeypatch.setattr("sys.argv", ["table", *map(str, paths)])
    assert table.main() == 2
    assert "different machines" in capsys.readouterr().err
    paths[1].write_text("no JSON")
    assert table.main() == 2
    assert str(paths[1]) in capsys.readouterr().err
