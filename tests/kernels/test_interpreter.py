"""The interpreter tier: every case with the mark `kernel` once more, with the Triton kernels in Triton's interpreter.

It has its own process, because one process cannot both interpret and compile kernels. Other test files run beside it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastser_kernels.registration import INTERPRETED


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="this is the process that interprets")
def test_interpreted_kernels_pass_the_same_cases() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    folder = str(Path(__file__).parent)
    tier = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "kernel and not gpu", folder],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tier.returncode == 0, tier.stdout[-7000:]
    assert int(re.findall(r"(\d+) passed", tier.stdout)[-1]) > 0
