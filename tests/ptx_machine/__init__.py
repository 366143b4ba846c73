"""A machine that executes PTX on a CPU: the instructions that Triton emits for sm_80, as compiled, over NumPy arrays.

It computes what the compiled kernel computes, and raises `PtxError` where a thread breaks a rule that a GPU does not
check: accesses outside of a tensor, misaligned accesses, reads of uninitialised shared memory, races in shared memory,
copies that are read before they have arrived, and barriers that some threads never reach.
"""

from ptx_machine.counts import Counts
from ptx_machine.machine import Machine
from ptx_machine.report import PtxError

__all__ = ["Counts", "Machine", "PtxError"]
