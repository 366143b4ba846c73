"""Bytes that a dense block moves, counted without a GPU. A kernel that reads the maps once more fails here."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from fastser_kernels.dense_block.op import ideal_bytes
from fastser_kernels.registration import INTERPRETED

pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = pytest.mark.slow

CHANNELS, GROWTH_RATE, LAYERS, ITEMSIZE = 48, 24, 6, 2

Counted = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def counted() -> Counted:
    """Count the bytes per pixel, by provider and pass."""
    if INTERPRETED:
        pytest.skip("the count starts an interpreter of its own")
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler (g++) on a CPU")
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.bytes_moved"],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    table: Counted = json.loads(run.stdout)
    return table


def test_the_kernels_move_little_more_than_they_must(counted: Counted) -> None:
    """The excess is the border of the gradient of a layer's own maps, here 2 of 18 columns."""
    forward, backward = ideal_bytes(1, CHANNELS, GROWTH_RATE, LAYERS, ITEMSIZE)
    fused = counted["fastser"]
    assert forward <= fused["forward"] <= 1.02 * forward
    assert backward <= fused["backward"] <= 1.15 * backward
    assert fused["input gradient"] < 0.95 * fused["backward"]


def test_eager_and_compiled_pytorch_move_several_times_as_much(counted: Counted) -> None:
    eager, compiled, fused = (counted[name] for name in ("eager", "compile", "fastser"))
    assert eager["forward"] > 6 * fused["forward"]
    assert eager["backward"] > 3 * fused["backward"]
    assert compiled["forward"] > 4 * fused["forward"]
    assert compiled["backward"] > 2.5 * fused["backward"]
