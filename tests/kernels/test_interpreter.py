"""The interpreter tier: every case with the mark `kernel` once more, with the Triton kernels in Triton's interpreter.

It has its own process (`interpreter_tier` in conftest.py), because one process cannot both interpret and compile
kernels.
"""

import re
import subprocess

import pytest
from fastser_kernels.registration import INTERPRETED


@pytest.mark.skipif(INTERPRETED, reason="this is the process that interprets")
def test_interpreted_kernels_pass_the_same_cases(interpreter_tier: subprocess.Popen[str] | None) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    assert interpreter_tier is not None
    output, _ = interpreter_tier.communicate()
    assert interpreter_tier.returncode == 0, output[-7000:]
    assert int(re.findall(r"(\d+) passed", output)[-1]) > 0
