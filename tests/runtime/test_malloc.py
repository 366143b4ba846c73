"""That a process on a CPU keeps the memory that it frees."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from fastser.runtime.device import named_device

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(25_000_000).add(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {kept}:
    named_device("cpu")
print(*(faults() for _ in range(12)))
"""


def _page_faults(*, kept: bool) -> list[int]:
    """Of each of twelve times the same two tensors of 100 MB."""
    program = [sys.executable, "-c", PROGRAM.format(kept=kept)]
    made = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    return [int(count) for count in made.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_tensor_of_the_size_of_a_freed_one_costs_no_page_faults() -> None:
    assert max(_page_faults(kept=True)[-3:]) < 100  # the heap grows at first: freed blocks lie between small ones
    assert min(_page_faults(kept=False)) > 10_000
