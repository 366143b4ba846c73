"""How many bytes a DenseBlock moves, counted: a change that reads the maps once more is seen without a GPU."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from fastser_kernels.dense_block.op import ideal_bytes
from fastser_kernels.registration import INTERPRETED

pytest.importorskip("triton", reason="Triton is not installed")

CHANNELS, GROWTH_RATE, LAYERS, ITEMSIZE = 48, 24, 6, 2

Counted = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def counted() -> Counted:
    """Bytes per pixel by provider and pass."""
    if INTERPRETED:
        pytest.skip("counts in an interpreter of its own")
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


def test_our_kernels_move_what_they_must(counted: Counted) -> None:
    """The difference is the border of the gradient of a layer's own maps, of 2 in 18 columns here."""
    forward, backward = ideal_bytes(1, CHANNELS, GROWTH_RATE, LAYERS, ITEMSIZE)
    ours = counted["fastser"]
    assert forward <= ours["forward"] <= 1.02 * forward
    assert backward <= ours["backward"] <= 1.15 * backward
    assert ours["input gradient"] < 0.95 * ours["backward"]


def test_others_move_several_times_as_much(counted: Counted) -> None:
    eager, compiled, ours = (counted[name] for name in ("eager", "compile", "fastser"))
    assert eager["forward"] > 6 * ours["forward"]
    assert eager["backward"] > 3 * ours["backward"]
    assert compiled["forward"] > 4 * ours["forward"]
    assert compiled["backward"] > 2.5 * ours["backward"]
