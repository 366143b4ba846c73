"""Errors of a full memory are told from others without loading PyTorch."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from fastser.runtime.full_memory import full_memory_sentence, is_out_of_memory
assert is_out_of_memory(MemoryError()) and not is_out_of_memory(RuntimeError("wrong"))
print(full_memory_sentence(MemoryError("Unable to allocate 9 GiB")), "torch" in sys.modules)
"""


@pytest.mark.fast
def test_an_error_is_judged_without_torch() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ended.stdout == "out of main memory: Unable to allocate 9 GiB False\n"
