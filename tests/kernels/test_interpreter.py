"""Tier two: every case that is marked `kernel`, once more with the Triton kernels in Triton's interpreter.

In its own process, because one process cannot both interpret kernels and compile them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastser_kernels.registration import INTERPRETED


@pytest.mark.skipif(INTERPRETED, reason="this is the process that interprets")
def test_interpreted_kernels_pass_the_same_cases() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "kernel and not gpu", str(Path(__file__).parent)]
    run = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", run.stdout)[-1]) > 0
