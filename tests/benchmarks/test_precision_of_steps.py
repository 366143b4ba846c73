"""`python -m benchmarks.precision_of_steps`: both precisions are timed, and the table names the size of the step."""

import pytest
import torch

from benchmarks import precision_of_steps
from fastser.models import build_model
from fastser.runtime.precision import Precision
from fastser.settings import QUICK


def test_both_precisions_are_timed_by_turns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    real = precision_of_steps.loss_function
    monkeypatch.setattr(precision_of_steps, "SIZES", (("quick", 2),))
    monkeypatch.setattr(precision_of_steps, "SHORTEST_SECONDS", 0.0)
    monkeypatch.setattr(precision_of_steps, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(precision_of_steps, "loss_function", lambda *given: asked.append(given) or real(*given))
    monkeypatch.setattr("sys.argv", ["precision_of_steps", "--models", "cnn,proposed"])
    precision_of_steps.main()
    cpu = torch.device("cpu")
    assert asked == [(cpu, "float32"), (cpu, "bfloat16")] * 2
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:4] for row in rows] == [[title, "quick", "2", "16,384"] for title in ("CNN", "Proposed")]
    assert all(float(cell.removesuffix(" ms")) > 0 for row in rows for cell in row[4:])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_step_changes_the_weights(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = QUICK.override(["training.batch_size=2"])
    model = build_model("cnn", settings=settings.model, segment_frames=128, num_bins=64)
    monkeypatch.setattr(precision_of_steps, "build_model", lambda *_, **__: model)
    before = [parameter.clone() for parameter in model.parameters()]
    precision_of_steps.training_step("cnn", settings, precision)()
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
