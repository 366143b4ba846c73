"""Errors of a memory that is full, the main one or that of a GPU. PyTorch is not loaded to look at one."""

import re
import sys


def is_out_of_gpu_memory(error: Exception) -> bool:
    """Return whether PyTorch or the CUDA driver raised an error because the memory of a GPU is full."""
    of_torch = getattr(sys.modules.get("torch"), "OutOfMemoryError", ())  # PyTorch has raised no error if not loaded
    by_driver = isinstance(error, RuntimeError) and "CUDA" in str(error) and "out of memory" in str(error)
    return by_driver or isinstance(error, of_torch)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether Python, NumPy, PyTorch or the CUDA driver raised an error because a memory is full."""
    by_torch = isinstance(error, RuntimeError) and re.search(r"not enough memory|can't allocate memory", str(error))
    return isinstance(error, MemoryError) or bool(by_torch) or is_out_of_gpu_memory(error)


def full_memory_sentence(error: Exception) -> str:
    """Return the sentence for an error of a full memory: which one is full, and the first line of the message."""
    memory = "GPU" if is_out_of_gpu_memory(error) else "main"
    first = (str(error) or type(error).__name__).splitlines()[0]
    return f"out of {memory} memory: {first.rpartition('DefaultCPUAllocator: ')[2]}"
