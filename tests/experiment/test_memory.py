"""The estimate of the memory of a run."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import SMALL, stand_in_experiment
from torch import nn

from fastser.evaluation.inference import BATCH_SIZE
from fastser.experiment.memory import PROCESS_BYTES, run_bytes
from fastser.models import MODELS, Architecture


@pytest.mark.fast
def test_a_run_takes_memory_for_weights_and_for_each_segment_of_a_batch(stand_ins: Path) -> None:
    experiment = stand_in_experiment(stand_ins, SMALL)
    large = replace(experiment, settings=SMALL.override([f"training.batch_size={3 * BATCH_SIZE}"]))
    weights = 4 * sum(parameter.nbytes for parameter in experiment.model("proposed").parameters())
    small_batch = run_bytes("proposed", experiment) - PROCESS_BYTES - weights
    assert small_batch > 0
    assert run_bytes("proposed", large) - PROCESS_BYTES - weights == 3 * small_batch


def test_a_yardstick_takes_a_process(stand_ins: Path) -> None:
    assert run_bytes("linear", stand_in_experiment(stand_ins, SMALL)) == PROCESS_BYTES


def test_a_model_that_fails_takes_a_process(stand_ins: Path) -> None:
    broken = Architecture("broken", "Broken", lambda *_: nn.Linear(1, 1))
    with MODELS.including(broken):
        assert run_bytes("broken", stand_in_experiment(stand_ins, SMALL)) == PROCESS_BYTES
