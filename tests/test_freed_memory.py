"""That a process on a CPU keeps the memory that it frees."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from fastser.device import named_device

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(25_000_000).add(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {kept}:
    named_device("cpu")
print(min(faults() for _ in range(5)))  # where small blocks lie may cost one more tensor at first
"""


def _page_faults(*, kept: bool) -> int:
    program = [sys.executable, "-c", PROGRAM.format(kept=kept)]
    return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_tensor_of_the_size_of_a_freed_one_costs_no_page_faults() -> None:
    assert _page_faults(kept=True) < 100
    assert _page_faults(kept=False) > 10_000  # two tensors of 100 MB in pages of 4 kB
