"""A process that computes on a CPU keeps the memory that it frees."""

import ctypes
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fastser.runtime import malloc

MALLOC_H = {"M_TRIM_THRESHOLD": -1, "M_MMAP_MAX": -4}
"""Parameters of mallopt(3) by their names in glibc's malloc.h."""

PROGRAM = """
import ctypes, torch
from fastser.runtime.device import named_device

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2

def growth():
    before = mallinfo2()
    tensor = torch.ones(25_000_000)
    used = mallinfo2()
    del tensor
    freed = mallinfo2()
    return used.arena - before.arena, used.hblkhd - before.hblkhd, freed.arena - before.arena

print(*growth())
named_device("cpu")
print(*growth())
"""
"""Print how the memory grows by a tensor of 100 MB, before and after the device is named.

The numbers are bytes by which the heap and the mapped blocks have grown while the tensor exists, and the heap after it.
"""


@pytest.mark.fast
def test_glibc_is_asked_to_trim_nothing_and_to_map_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    library = SimpleNamespace(mallopt=lambda parameter, value: asked.append((parameter, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    malloc.keep_freed_memory()
    assert asked == [(MALLOC_H["M_TRIM_THRESHOLD"], 2**31 - 1), (MALLOC_H["M_MMAP_MAX"], 0)]


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_a_system_without_a_loadable_c_library_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(name: None) -> None:
        raise error("no C library by this name")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    malloc.keep_freed_memory()


def test_a_c_library_without_mallopt_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    malloc.keep_freed_memory()


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="needs mallinfo2 of glibc 2.33",
)
def test_a_freed_tensor_stays_in_the_heap_on_a_cpu_device() -> None:
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    (heap, mapped, heap_after), (kept_heap, kept_mapped, kept_heap_after) = (
        map(int, line.split()) for line in printed.splitlines()
    )
    assert heap < 1_000_000
    assert mapped >= 100_000_000
    assert heap_after < 1_000_000
    assert kept_heap > 99_000_000
    assert kept_mapped == 0
    assert kept_heap_after == kept_heap
