"""Measurement of a case: columns of a row, and no time for a wrong result."""

from functools import partial
from typing import Any

import pytest
import torch
from fastser_kernels.dense_block import op as dense_block
from fastser_kernels.transition import op as transition

from benchmarks import measurement, test_operations, timing
from benchmarks.case import Case
from benchmarks.cases import dense_block as dense_block_cases
from benchmarks.cases import transition as transition_cases
from benchmarks.gate import WrongResultError, check_accuracy, check_decibels
from benchmarks.limits import Limits
from benchmarks.measurement import Measurement, measure

CPU = torch.device("cpu")
BLOCK = {"shape": (2, 8, 10, 12), "growth_rate": 4, "layers": 3, "mode": "forward + backward"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time the fewest rounds, with assumed limits of the machine and without torch.compile."""
    monkeypatch.setattr(timing, "SECONDS_PER_CASE", 0.0)
    monkeypatch.setattr(measurement, "limits", lambda *_: Limits(1e10, 1e11))
    for module in (dense_block_cases, transition_cases):
        monkeypatch.setattr(module, "compiled", lambda *_: ({}, {"compile": "left out"}))


def _case(module: Any, **arguments: Any) -> Case:
    return Case("small", "here", ("eager", "fastser"), partial(module.workload, **arguments))


def test_right_results_are_timed_beside_their_costs() -> None:
    rows = measure(_case(dense_block_cases, **BLOCK), CPU)
    fused, eager = rows["fastser"], rows["eager"]
    assert isinstance(fused, Measurement)
    assert isinstance(eager, Measurement)
    assert rows["compile"] == "left out"
    assert len(fused.seconds) == len(eager.seconds) == timing.MIN_ROUNDS
    assert fused.extra_info["p20"] <= sorted(fused.seconds)[len(fused.seconds) // 2] <= fused.extra_info["p80"]
    assert eager.extra_info["times_eager"] == 1.0
    assert fused.extra_info["ideal_bytes"] == sum(dense_block.ideal_bytes(240, 8, 4, 3, 4))
    assert 0 < fused.extra_info["saved_bytes"] < 0.3 * eager.extra_info["saved_bytes"]
    assert fused.extra_info["peak_bytes"] > 0


@pytest.mark.parametrize("broken", ["forward", "backward"])
def test_a_broken_kernel_has_no_time(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = _case(dense_block_cases, **BLOCK)
    right = getattr(dense_block, f"_{broken}")

    def wrong(*arguments: Any) -> Any:
        first, *rest = right(*arguments)
        return first * 1.01, *rest

    monkeypatch.setattr(dense_block, f"_{broken}", wrong)
    rows = measure(case, CPU)
    assert isinstance(rows["eager"], Measurement)
    error = rows["fastser"]
    assert isinstance(error, WrongResultError)
    with pytest.raises(WrongResultError, match=r"fastser: result \d is 1\.\de-02 from float64, allowed .*: not timed"):
        raise error
    monkeypatch.setattr(test_operations, "measured", lambda *_: rows)
    with pytest.raises(WrongResultError):
        test_operations.test_operation(None, case, "fastser", "cpu")  # type: ignore[arg-type]


def test_a_kernel_that_is_wrong_at_few_places_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    case = _case(transition_cases, shape=(2, 8, 10, 12), mode="forward")
    right = transition._forward

    def wrong(*arguments: Any) -> Any:
        pooled, *statistics = right(*arguments)
        pooled[0, 0, 0, 0] = float("nan")
        return pooled, *statistics

    monkeypatch.setattr(transition, "_forward", wrong)
    assert isinstance(measure(case, CPU)["fastser"], WrongResultError)


@pytest.mark.fast
def test_the_gate_allows_rounding_errors_and_no_more() -> None:
    exact = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    eager = exact.float()
    check_accuracy("who", [eager], [eager], [exact])
    with pytest.raises(WrongResultError, match="who: result 0 is "):
        check_accuracy("who", [eager * (1 + 1e-5)], [eager], [exact])
    with pytest.raises(WrongResultError, match="is inf from float64"):
        check_accuracy("who", [eager[:-1]], [eager], [exact])


@pytest.mark.fast
def test_the_gate_of_spectrograms_ignores_what_is_far_below_the_peak() -> None:
    exact = torch.tensor([[0.0, -20.0, -90.0]], dtype=torch.float64)
    check_decibels("who", [exact + torch.tensor([[0.009, -0.009, 5.0]])], [], [exact], scale=1.0)
    with pytest.raises(WrongResultError, match=r"who: 0\.011 dB from float64, allowed 0\.01: not timed"):
        check_decibels("who", [exact + torch.tensor([[0.0, 0.011, 0.0]])], [], [exact], scale=1.0)
    with pytest.raises(WrongResultError, match=r"who: the result has shape \[1, 2\], expected \[1, 3\]: not timed"):
        check_decibels("who", [exact[:, :2]], [], [exact], scale=1.0)
