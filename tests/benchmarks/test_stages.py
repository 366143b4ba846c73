"""`python -m benchmarks.stages`: the choice of kernels, and the printed lines."""

from collections.abc import Callable

import pytest
from fastser_kernels import reference_kernels_active

from benchmarks import stages
from benchmarks.limits import Limits
from fastser.settings import QUICK


@pytest.fixture(autouse=True)
def assumed_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the measurement of the machine's limits."""
    monkeypatch.setattr(stages, "limits", lambda *_: Limits(1e10, 1e11))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fastser_kernels::lstm_forward", "dense blocks and other operations of fastser"),
        ("aten::lstm", "matrix products and LSTM"),
        ("aten::convolution_backward", "convolution"),
        ("aten::relu_", stages.ELEMENTWISE),
    ],
)
def test_kinds_of_work(name: str, kind: str) -> None:
    assert stages._kind(name) == kind


@pytest.mark.fast
@pytest.mark.parametrize("part", ["shares", "Flops"])
def test_a_stage_that_fails_leaves_the_kernels_as_they_were(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []

    def fail(*_: object) -> None:
        chosen.append(reference_kernels_active())
        raise RuntimeError("the stage failed")

    monkeypatch.setattr(stages, part, fail)
    with pytest.raises(RuntimeError, match="the stage failed"):
        stages.report(QUICK, "cnn", 2, reference=True)
    assert chosen == [True]
    assert not reference_kernels_active()


@pytest.mark.fast
def test_kernels_that_cannot_be_chosen_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stages", "--kernels", "auto"])
    monkeypatch.setattr(stages, "report", lambda *_, **__: [])
    with pytest.raises(SystemExit):
        stages.main()
    assert "invalid choice: 'auto'" in capsys.readouterr().err


@pytest.mark.parametrize(("reference", "kernels"), [(False, "fused"), (True, "reference")])
def test_the_report_times_the_chosen_kernels(reference: bool, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []

    def shares(call: Callable[[], object]) -> tuple[float, dict[str, float]]:
        call()
        chosen.append(reference_kernels_active())
        return 0.25, {"convolution": 0.75, stages.OUTSIDE: 0.25}

    monkeypatch.setattr(stages, "shares", shares)
    lines = stages.report(QUICK, "proposed", 2, reference=reference)
    assert chosen == [reference, reference]
    assert len(lines) == 2 * 3
    assert lines[0].startswith(f"training step, Proposed, quick scale, 2 segments, {kernels}: 250 ms; floors: ")
    assert lines[1] == "   75.0 %  convolution"
    assert lines[3].startswith(f"BIM, {stages.STEPS} steps, Proposed, quick scale, 2 segments, {kernels}: 250 ms")
